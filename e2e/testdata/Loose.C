// A macro that only ROOT's interpreter takes: it includes nothing. It counts entries.
class Loose : public TSelector {
public:
   TH1D *h = nullptr;
   int Version() const { return 2; }
   void SlaveBegin(TTree *)
   {
      h = new TH1D("h", "", 1, 0, 1);
      fOutput->Add(h);
   }
   Bool_t Process(Long64_t)
   {
      h->Fill(0.5);
      return kTRUE;
   }
   void Terminate() { printf("%s %g\n", gSystem->Getenv("LOOSE_SAYS"), ((TH1 *)fOutput->FindObject("h"))->GetEntries()); }
};
