#include "scale.h"

long long scaled(long long id) { return 2 * id + offset(); }
