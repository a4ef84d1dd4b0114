#ifndef ROOT_TProofNodeInfo
#define ROOT_TProofNodeInfo

#include "ProofIncludes.h"
#include "TObject.h"
#include "TString.h"

/// A node, as lists of them described it; `dtpnode members` shows those of the pool.
class TProofNodeInfo : public TObject {
 public:
  enum ENodeType { kMaster, kSubMaster, kWorker };

  TProofNodeInfo() = default;
  TProofNodeInfo(const char *name) : fNodeName(name) {}

  ENodeType GetNodeType() const { return kWorker; }
  const TString &GetNodeName() const { return fNodeName; }
  const TString &GetWorkDir() const { return fWorkDir; }
  const TString &GetOrdinal() const { return fOrdinal; }
  const TString &GetImage() const { return fNodeName; }
  Int_t GetPort() const { return -1; }
  Int_t GetPerfIndex() const { return 100; }

 private:
  TString fNodeName, fWorkDir, fOrdinal;

  ClassDefOverride(TProofNodeInfo, 1) // A node
};

#endif
