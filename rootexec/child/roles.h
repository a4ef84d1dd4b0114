// What each forked process does.
#pragma once

#include "zygote.h"

namespace dtpnode {

/// The roles of the base zygote, which knows ROOT and no user code.
Roles baseRoles();

} // namespace dtpnode
