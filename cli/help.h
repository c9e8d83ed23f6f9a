/* help.h: what the tables in flags.h say, for people and for shells. Everything goes to standard output. */
#ifndef CLI_HELP_H
#define CLI_HELP_H
#include "flags.h"

void help_overall(void);
void help_verb(verb_id v);
void help_version(void);
/* A man page in roff; v < 0: of the whole program. */
void help_man(int v);
/* A completion script; false: no such shell. */
bool help_completion(const char *shell);

#endif
