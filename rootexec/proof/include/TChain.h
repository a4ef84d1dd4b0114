// ROOT's own TChain, with the call that chains had for PROOF. It is found before ROOT's, which it includes.

// Without a guard: found beside who includes it, this file comes first in the search for the next one, too.
#include_next <TChain.h>

#include "TProofChainCall.h"
