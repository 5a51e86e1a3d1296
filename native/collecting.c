/* A call during which no garbage is collected.
 *
 * Python looks for garbage whenever so many objects have been made, and looks at the new ones again each time. Who
 * makes many at once and keeps them all pays for that and gains nothing. The switch is the process's own, so this is
 * for functions in C that run no code of the user's: other threads hardly run meanwhile, and see it or turn it.
 */
#include "functions.h"

FUNCTION(collecting_call_uncollected)
{
    if (!take_count("call_uncollected", given, 2))
        return NULL;
    bool was_on = PyGC_Disable();
    PyObject *result = PyObject_CallFunctionObjArgs(arguments[0], arguments[1], NULL);
    if (was_on)
        PyGC_Enable();
    return result;
}
