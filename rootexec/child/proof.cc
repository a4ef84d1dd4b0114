#include "proof.h"

#include "guard.h"

#include <TInterpreter.h>
#include <TSystem.h>

namespace dtpnode {

void loadProof(const std::string &path) {
  if (path.empty()) return;
  const std::string lib = gSystem->GetDirName(path.c_str()).Data();
  const std::string include = lib + "/../include";
  gInterpreter->AddIncludePath(include.c_str());
  // Before ROOT's own folders: some versions have a library of this name there.
  gSystem->SetDynamicPath((lib + ":" + gSystem->GetDynamicPath()).c_str());
  if (gSystem->Load(path.c_str()) < 0) throw Failure("code", "could not load the library that stands for PROOF");
}

} // namespace dtpnode
