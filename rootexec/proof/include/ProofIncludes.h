// What PROOF's headers led to by what they included, themselves and through the headers of ROOT of their time, which
// include less today. Old code relies on it without knowing: a macro that includes TProof.h alone makes a TMap.
#ifndef DTPNODE_ProofIncludes
#define DTPNODE_ProofIncludes

#include "RVersion.h"
#include "TArrayF.h"
#include "TArrayI.h"
#include "TArrayL64.h"
#include "TBuffer.h"
#include "TClass.h"
#include "TDatime.h"
#include "TError.h"
#include "THashList.h"
#include "THashTable.h"
#include "TInetAddress.h"
#include "TList.h"
#include "TMap.h"
#include "TMathBase.h"
#include "TMutex.h"
#include "TObjArray.h"
#include "TObjString.h"
#include "TQClass.h"
#include "TSysEvtHandler.h"
#include "TSystem.h"
#include "TTime.h"
#include "TTimer.h"
#include "TVirtualMutex.h"

#include <cmath>
#include <iostream>
#include <typeinfo>

#endif
