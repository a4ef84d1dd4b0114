#include "process.h"

#include "TInterpreter.h"
#include "TSystem.h"

#include <cstdlib>
#include <dlfcn.h>

namespace dtpnode {

namespace {

/// The folder of the headers, which lies beside that of the library.
std::string headers() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<void *>(&prepareProcess), &info) == 0 || !info.dli_fname) return "";
  return std::string(gSystem->GetDirName(info.dli_fname).Data()) + "/../include";
}

/// What Python needs: chain.SetProof(), where a macro of the preprocessor is of no use, and calls by which a session
/// keeps an object without a copy, that Python is not to delete as the last name of it is gone.
const char *const kPython = R"(
def _dtpnode_prepare():
    import ROOT
    def SetProof(self, on=True, refresh=False, gettreeheader=False):
        if on and not ROOT.TProofTreePlayer.Take(self):
            raise RuntimeError('the chain ' + self.GetName() + ' has a player of its own, which knows no pool')
        self.SetTimerInterval(1 if on else 0)
    if not hasattr(ROOT.TChain, 'SetProof'):
        ROOT.TChain.SetProof = SetProof
    def keeping(call):
        def keeps(self, obj, *args, **kwargs):
            returned = call(self, obj, *args, **kwargs)
            if isinstance(obj, ROOT.TObject):
                ROOT.SetOwnership(obj, False)
            return returned
        keeps.__name__, keeps.__doc__ = call.__name__, call.__doc__
        return keeps
    for cls, name in (ROOT.TProof, 'AddInput'), (ROOT.TProof, 'AddInputData'), (ROOT.TDSet, 'AddInput'):
        setattr(cls, name, keeping(getattr(cls, name)))
_dtpnode_prepare()
del _dtpnode_prepare
)";

void preparePython() {
  const auto initialized = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "Py_IsInitialized"));
  const auto ensure = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "PyGILState_Ensure"));
  const auto release = reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "PyGILState_Release"));
  const auto run = reinterpret_cast<int (*)(const char *, void *)>(::dlsym(RTLD_DEFAULT, "PyRun_SimpleStringFlags"));
  if (!initialized || !ensure || !release || !run || !initialized()) return;
  const int state = ensure();
  run(kPython, nullptr);
  release(state);
}

/// Gives ACLiC the headers and the call of chains, as the library is loaded into a process of the user's: `dtpnode root`
/// loads it at the start, before any macro is compiled. ACLiC has ROOT's folder before all others, so that ROOT's own
/// TChain.h is the one that is found there.
struct ForACLiC {
  ForACLiC() {
    if (!std::getenv("DTPNODE_EXE") || !gSystem) return;
    if (const std::string dir = headers(); !dir.empty()) gSystem->AddIncludePath(("-I\"" + dir + "\"").c_str());
    gSystem->AddIncludePath("-D\"DTPNODE_FIRST(a,...)=SetTimerInterval(a)\" -D\"SetProof(...)=DTPNODE_FIRST(__VA_ARGS__,)\"");
  }
} const forACLiC;

} // namespace

void prepareProcess() {
  static bool done = false;
  if (done) return;
  done = true;
  if (const std::string dir = headers(); !dir.empty()) gInterpreter->AddIncludePath(dir.c_str());
  gInterpreter->Declare("#include <TProofChainCall.h>");
  preparePython();
}

} // namespace dtpnode
