// A class of the user's own in the output, with a dictionary and its own Merge.
#ifndef Tally2_h
#define Tally2_h

#include <TNamed.h>

class TCollection;

class Tally2 : public TNamed {
 public:
  explicit Tally2(const char *name = "") : TNamed(name, "") {}
  void Add(Long64_t n) { fSum += n; }
  Long64_t Sum() const { return fSum; }
  Long64_t Merge(TCollection *others);

 private:
  Long64_t fSum = 0;
  ClassDefOverride(Tally2, 1);
};

#endif
