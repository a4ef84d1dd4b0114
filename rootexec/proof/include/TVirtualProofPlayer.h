#ifndef ROOT_TVirtualProofPlayer
#define ROOT_TVirtualProofPlayer

#include "ProofIncludes.h"
#include "TObject.h"
#include "TQObject.h"

class TList;

/// What ran queries inside a session. The session does all itself here; what code asked a player for is the session's.
class TVirtualProofPlayer : public TObject, public TQObject {
 public:
  enum EStatus { kFinished, kStopped, kAborted };
  enum EStatusBits { kDispatchOneEvent = BIT(15), kIsProcessing = BIT(16), kMaxProcTimeReached = BIT(17) };

  void AddInput(TObject *obj);
  void ClearInput();
  TList *GetInputList() const;
  TList *GetOutputList() const;
  TObject *GetOutput(const char *name) const;

  ClassDefOverride(TVirtualProofPlayer, 0) // What a session runs queries with
};

#endif
