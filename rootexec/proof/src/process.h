// What a user's own process needs before a session can be of use in it.
#pragma once

#include <string>

namespace dtpnode {

/// Gives compilers and the interpreter the headers, and chains their SetProof(), in C++ and in Python. It does so once.
void prepareProcess();

} // namespace dtpnode
