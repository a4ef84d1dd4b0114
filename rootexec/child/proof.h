// What user code sees of PROOF, where it names it: the library of rootexec/proof, which this program knows by the
// functions with C names that the library has for it.
#pragma once

#include <cstdint>
#include <string>

class TList;
class TSelector;

namespace dtpnode {

/// Loads the library that stands for PROOF, before the user's, which looks for its symbols. Nothing is loaded if path
/// is empty, as for most code; then all that follows does nothing.
void loadProof(const std::string &path);

/// Makes this process a worker, as user code knew it, and adds to its input list what PROOF did. The selector that a
/// session gave as an object is returned, else null.
TSelector *enterProofWorker(TList &input, const std::string &dir, uint64_t job);

/// Tells user code which entries of which file come next, as PROOF_CurrentElement in its input list. fresh says that
/// this process has not had the file before.
void setProofElement(TList &input, const std::string &file, const std::string &tree, long long first, long long last,
                     long long entries, long long offset, bool fresh);

} // namespace dtpnode
