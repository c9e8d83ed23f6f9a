# WickInstall.cmake: what `make install` copies.
