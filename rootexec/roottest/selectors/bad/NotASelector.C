// NotASelector compiles, but is no TSelector.

#include <TNamed.h>

class NotASelector : public TNamed {
public:
   Bool_t Process(Long64_t) { return kTRUE; }
   ClassDefOverride(NotASelector, 0);
};
