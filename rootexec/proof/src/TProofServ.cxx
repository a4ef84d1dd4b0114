#include "TProofServ.h"

#include "TProofDebug.h"

TProofServ *gProofServ = nullptr;
TProofDebug::EProofDebugMask gProofDebugMask = TProofDebug::kNone;
Int_t gProofDebugLevel = 0;

TProofServ::~TProofServ() = default;
