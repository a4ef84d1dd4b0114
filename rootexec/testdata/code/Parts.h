// A selector in a namespace, of a base that is a template, whose parts are in other sources.
#ifndef Parts_h
#define Parts_h

#include <TSelector.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderValue.h>

class Tally2;

namespace ana {

template <class T>
class Base : public TSelector {
 public:
  TTreeReader fReader;
  TTreeReaderValue<T> id = {fReader, "id"};
  int Version() const override { return 2; }
  void Init(TTree *tree) override { fReader.SetTree(tree); }
};

class Parts : public Base<Long64_t> {
 public:
  Tally2 *tally = nullptr;
  void SlaveBegin(TTree *) override;
  Bool_t Process(Long64_t entry) override;
  void Terminate() override;
  ClassDefOverride(Parts, 0);
};

} // namespace ana

#endif
