package rootexec

import "testing"

// TestAddsPerFile has each kind of selector that counts files once, and those that only look like it.
func TestAddsPerFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want bool
	}{
		{`Bool_t S::Notify() { fTotal += ((TH1*)fChain->GetCurrentFile()->Get("h"))->GetBinContent(1); return 1; }`, true},
		{`void S::Init(TTree *t) { fTotal += t->GetEntries(); }`, true},
		{`Bool_t Notify() override { auto f = fChain->GetCurrentFile(); count(f); return true; }
		  void count(TFile *f) { fSum = fSum + f->Get<TParameter<double>>("w")->GetVal(); }`, true},
		{`bool Notify() { this->meta(); return 1; }
		  void meta() { TH1 *h; f->GetObject("h", h); if (h) { fSum->Add(h); } }`, true},
		{`Bool_t S::Notify() { return kTRUE; } Bool_t S::Process(Long64_t e) { n += fChain->GetEntries(); }`, false},
		{`Bool_t S::Notify() { if (fChain->Get("x")) { a(); } return 1; }
		  Bool_t S::Process(Long64_t e) { if (e) { h->Fill(1); } }`, false},
		{`Bool_t S::Notify() { TString name("calib"); name += fRun; fCal = TFile::Open(name); return kTRUE; }`, false},
		{`Bool_t S::Notify() { fScale = ((TNamed*)fChain->GetCurrentFile()->Get("x"))->GetTitle(); return kTRUE; }`, false},
		{`// Notify() { fTotal += f->Get("h") }
		  Bool_t S::Notify() { return kTRUE; }`, false},
		{`void S::Init(TTree *t) { t->SetBranchAddress("n", &n); fOutput->Add(new TH1F("h", "", 1, 0, 1)); }`, false},
		{`void S::Init(TTree *t) {`, false},
	} {
		if got := addsPerFile(Source{Files: map[string][]byte{"S.C": []byte(c.text)}}); got != c.want {
			t.Errorf("%v for %s", got, c.text)
		}
	}
}
