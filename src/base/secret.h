/* A text that must not reach a core dump or the swap space. Any thread. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

/* A copy in pages of its own (MADV_DONTDUMP, locked where the system allows); NULL: no memory. */
char *secret_dup(const char *text);
/* Wipes and gives back what secret_dup made; NULL is fine. */
void secret_free(char *secret);

#endif
