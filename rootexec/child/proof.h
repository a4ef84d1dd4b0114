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
/// dir is where it works, data the folder for files that stay on this host, empty for none.
TSelector *enterProofWorker(TList &input, const std::string &dir, const std::string &data, uint64_t job);

/// Whether the cycles of this job are files that the user has named in the input list, for a process to make each.
bool cyclesAreFiles(const TList &input);

/// Tells user code which of these files a cycle is for. False if there are fewer.
bool setProofFile(TList &input, long long cycle);

/// Ends the work in the folder for files that stay: the job's log says what there is.
void leaveProofData();

/// Gives user code its gProof on the submitting side. output is null in Begin.
void enterProofClient(TList &input, TList *output);
/// Ends what gProof has begun there.
void leaveProofClient();

/// Tells user code which entries of which file come next, as PROOF_CurrentElement in its input list. fresh says that
/// this process has not had the file before.
void setProofElement(TList &input, const std::string &file, const std::string &tree, long long first, long long last,
                     long long entries, long long offset, bool fresh);

} // namespace dtpnode
