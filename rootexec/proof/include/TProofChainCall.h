// chain->SetProof(): where ROOT's chains have it no more.
//
// A class cannot be given a member from outside. So the call is written as another that chains have, take the same first
// argument and whose only effect is on the frequency of a timer: SetTimerInterval(). Its default and the value of kTRUE
// are recognized when the chain is processed or drawn; kFALSE sets the interval back to none. Code that calls a function
// of its own by this name, and declares it, is renamed in both places alike.
#ifndef DTPNODE_ProofChainCall
#define DTPNODE_ProofChainCall

#ifndef SetProof // as in a compiler's arguments, see src/process.cxx
#define DTPNODE_FIRST(a, ...) SetTimerInterval(a)
#define SetProof(...) DTPNODE_FIRST(__VA_ARGS__, )
#endif

#endif
