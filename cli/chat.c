/* chat.c: wick chat. */
#include "cli.h"
int verb_chat(const opts *o) { (void)o; return cli_fail("chat"); }
