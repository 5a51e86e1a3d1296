/* What the module has: one function of Python each, listed with its docstring in module.c. */
#ifndef POCKETFLEX_FUNCTIONS_H
#define POCKETFLEX_FUNCTIONS_H

#include "arguments.h"

#define FUNCTION(name) PyObject *name(PyObject *module, PyObject *const *arguments, Py_ssize_t given)

/* words.c */
FUNCTION(words_load);
FUNCTION(words_store);
FUNCTION(words_fence);
FUNCTION(words_spin);

/* claims.c */
FUNCTION(claims_publish);
FUNCTION(claims_claim);
FUNCTION(claims_hand_back);
FUNCTION(claims_owned);

/* encode.c, decode.c, loop.c */
FUNCTION(columns_encode);
FUNCTION(columns_decode);
FUNCTION(loop_call_each);

/* awaiting.c */
FUNCTION(awaiting_await_each);

/* fetch.c */
FUNCTION(fetch_locate);
FUNCTION(fetch_admit);
FUNCTION(fetch_fetch);
FUNCTION(fetch_bytes);

/* stack.c */
FUNCTION(stack_alike);
FUNCTION(stack_stack);

/* collecting.c */
FUNCTION(collecting_call_uncollected);

/* objects.c */
FUNCTION(objects_build);

/* plain.c */
FUNCTION(plain_are_plain);

#endif
