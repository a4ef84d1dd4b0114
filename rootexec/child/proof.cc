#include "proof.h"

#include "guard.h"

#include <TInterpreter.h>
#include <TList.h>
#include <TSelector.h>
#include <TSystem.h>
#include <cstdio>
#include <dlfcn.h>
#include <unistd.h>

namespace dtpnode {

namespace {

bool proofLoaded = false;

template <typename F>
F *proofFunction(const char *name) {
  return proofLoaded ? reinterpret_cast<F *>(::dlsym(RTLD_DEFAULT, name)) : nullptr;
}

} // namespace

void loadProof(const std::string &path) {
  if (path.empty()) return;
  const std::string lib = gSystem->GetDirName(path.c_str()).Data();
  const std::string include = lib + "/../include";
  gInterpreter->AddIncludePath(include.c_str());
  // Before ROOT's own folders: some versions have a library of this name there.
  gSystem->SetDynamicPath((lib + ":" + gSystem->GetDynamicPath()).c_str());
  if (gSystem->Load(path.c_str()) < 0) throw Failure("code", "could not load the library that stands for PROOF");
  proofLoaded = true;
}

TSelector *enterProofWorker(TList &input, const std::string &dir, const std::string &data, uint64_t job) {
  auto *enter =
      proofFunction<void *(void *, const char *, const char *, const char *, int)>("dtpnodeProofWorker");
  if (!enter) return nullptr;
  char name[20];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(job));
  return static_cast<TSelector *>(enter(&input, dir.c_str(), data.c_str(), name, static_cast<int>(::getpid())));
}

void enterProofClient(TList &input, TList *output) {
  if (auto *enter = proofFunction<void(void *, void *)>("dtpnodeProofClient")) enter(&input, output);
}

void leaveProofClient() {
  if (auto *leave = proofFunction<void()>("dtpnodeProofClientEnd")) leave();
}

bool cyclesAreFiles(const TList &input) {
  auto *count = proofFunction<long long(const void *)>("dtpnodeProofFiles");
  return count && count(&input) >= 0;
}

bool setProofFile(TList &input, long long cycle) {
  static auto *set = proofFunction<bool(void *, long long)>("dtpnodeProofFile");
  return set && set(&input, cycle);
}

void leaveProofData() {
  if (auto *leave = proofFunction<void()>("dtpnodeProofData")) leave();
}

void setProofElement(TList &input, const std::string &file, const std::string &tree, long long first, long long last,
                     long long entries, long long offset, bool fresh) {
  static auto *set = proofFunction<void(void *, const char *, const char *, long long, long long, long long, long long,
                                        bool)>("dtpnodeProofElement");
  if (set) set(&input, file.c_str(), tree.c_str(), first, last - first, entries, offset, fresh);
}

} // namespace dtpnode
