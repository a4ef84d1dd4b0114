// What user code sees of PROOF, where it names it: the library of rootexec/proof, which this program knows by the
// functions with C names that the library has for it.
#pragma once

#include <string>

class TList;

namespace dtpnode {

/// Loads the library that stands for PROOF, before the user's, which looks for its symbols. Nothing is loaded if path
/// is empty, as for most code; then all that follows does nothing.
void loadProof(const std::string &path);

} // namespace dtpnode
