#ifndef ROOT_TProofLite
#define ROOT_TProofLite

#include "TProof.h"

/// A session on this host.
class TProofLite : public TProof {
 public:
  TProofLite(const char *url = "lite://", const char *conffile = kPROOF_ConfFile,
             const char *confdir = kPROOF_ConfDir, Int_t loglevel = 0, const char *alias = nullptr,
             TProofMgr *mgr = nullptr)
      : TProof(url, conffile, confdir, loglevel, alias, mgr) {}
  /// The processes that a session without a running node would have: what the URL says, else one a core.
  static Int_t GetNumberOfWorkers(const char *url = nullptr);

  ClassDefOverride(TProofLite, 0) // A session on this host
};

#endif
