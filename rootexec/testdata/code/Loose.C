// A macro that only ROOT's interpreter takes: it includes nothing.
class Loose : public TSelector {
public:
   TTreeReader fReader;
   TTreeReaderValue<Long64_t> id = {fReader, "id"};
   TH1D *h = nullptr;
   int Version() const { return 2; }
   void Init(TTree *tree) { fReader.SetTree(tree); }
   void SlaveBegin(TTree *)
   {
      h = new TH1D("h", "", 10, 0, 1000);
      fOutput->Add(h);
   }
   Bool_t Process(Long64_t entry)
   {
      fReader.SetLocalEntry(entry);
      h->Fill(*id);
      return kTRUE;
   }
   void Terminate()
   {
      auto h = (TH1 *)fOutput->FindObject("h");
      printf("sum %g\n", h->GetMean() * h->GetEntries());
   }
};
