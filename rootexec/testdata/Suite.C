#include "Suite.h"

#include <chrono>
#include <unistd.h>

void MakeData::Begin(TTree *) {
  const Long64_t entries = param(fInput, "entries", "1000").Atoll();
  const Long64_t base = param(fInput, "base", "0").Atoll();
  const Long64_t cluster = param(fInput, "cluster", "300").Atoll();
  TFile file(param(fInput, "file"), "RECREATE", "", param(fInput, "codec", "505").Atoi());
  auto *tree = new TTree(param(fInput, "tree", "T"), "");
  tree->SetAutoFlush(cluster);
  Long64_t id = 0;
  Int_t n = 0;
  Float_t x[16] = {};
  std::vector<float> v;
  tree->Branch("id", &id);
  tree->Branch("n", &n);
  tree->Branch("x", x, "x[n]/F");
  tree->Branch("v", &v);
  if (param(fInput, "more") != "") tree->Branch("more", &n);
  TRandom3 random(static_cast<UInt_t>(base + 1));
  for (Long64_t e = 0; e < entries; ++e) {
    id = base + e;
    n = static_cast<Int_t>(random.Integer(8));
    for (int i = 0; i < n; ++i)
      x[i] = static_cast<Float_t>(random.Gaus(0, 1));
    v.assign(static_cast<size_t>(n % 3), 0.5f);
    tree->Fill();
  }
  const TString second = param(fInput, "second", ""); // the name of another tree, which has a branch and no entry
  if (!second.IsNull()) (new TTree(second, ""))->Branch("id", &id);
  file.Write();
}

void Hists::SlaveBegin(TTree *) {
  hx = new TH1F("hx", "x", 100, -4, 4);
  hx->Sumw2();
  renamed = new TH1F("hother", "n", 10, 0, 10);
  h2 = new TH2F("h2", "n and x", 10, 0, 10, 20, -4, 4);
  prof = new TProfile("prof", "x over n", 10, 0, 10);
  count = new TParameter<Long64_t>("count", 0);
  slaveEnds = new TParameter<Long64_t>("slaveEnds", 0);
  plain = new TH1F("plain", "", 1, 0, 1);
  nested = new TList;
  nested->SetName("nested");
  auto *inner = new TH1F("inner", "v", 10, 0, 1);
  inner->SetDirectory(nullptr);
  nested->Add(inner);
  for (TObject *o :
       std::initializer_list<TObject *>{hx, renamed, h2, prof, count, slaveEnds, nested})
    fOutput->Add(o);
  if (TString(GetOption()) == "absent" && param(fInput, "first") == "yes") fOutput->Remove(h2);
}

bool Hists::Process(Long64_t entry) {
  reader.SetLocalEntry(entry);
  for (float f : x) {
    hx->Fill(f);
    h2->Fill(*n, f);
    prof->Fill(*n, f);
  }
  renamed->Fill(*n);
  for (float f : v)
    static_cast<TH1F *>(nested->FindObject("inner"))->Fill(f);
  count->SetVal(count->GetVal() + 1);
  return true;
}

void Hists::Terminate() {
  // Says what it sees, for the test of the binding of members.
  printf("terminate hx=%g renamed=%g count=%lld nested=%d fromBegin=%s\n",
         hx ? hx->GetEntries() : -1, renamed ? renamed->GetEntries() : -1,
         count ? count->GetVal() : -1, nested ? nested->GetSize() : -1,
         param(fInput, "fromBegin").Data());
}

void HistsOld::SlaveBegin(TTree *) {
  hx = new TH1F("hx", "x", 100, -4, 4);
  fOutput->Add(hx);
  fOutput->Add(count = new TParameter<Long64_t>("count", 0));
}

void HistsOld::Init(TTree *t) {
  v = nullptr;
  if (!t) return;
  fChain = t;
  fChain->SetMakeClass(1);
  fChain->SetBranchAddress("id", &id, &b_id);
  fChain->SetBranchAddress("n", &n, &b_n);
  fChain->SetBranchAddress("x", x, &b_x);
  fChain->SetBranchAddress("v", &v, &b_v);
}

bool HistsOld::Process(Long64_t entry) {
  fChain->GetTree()->GetEntry(entry);
  for (int i = 0; i < n; ++i)
    hx->Fill(x[i]);
  if (v->size() == static_cast<size_t>(n % 3)) count->SetVal(count->GetVal() + 1);
  return true;
}

void Bad::SlaveBegin(TTree *) {
  bad = param(fInput, "bad");
  at = param(fInput, "at", "-1").Atoll();
  if (bad == "slavebegin") misbehave();
  if (bad == "slaveabort") Abort("no data here");
}

bool Bad::Process(Long64_t entry) {
  reader.SetLocalEntry(entry);
  if (*id == at) {
    printf("about to be bad: %s\n", bad.Data());
    misbehave();
  }
  return true;
}

[[noreturn]] static void idle() {
  for (;;)
    ::sleep(1000);
}

static void writeMegabytes(const char *file, int n) {
  const std::vector<char> mb(1 << 20, 'x');
  FILE *f = fopen(file, "w");
  for (int i = 0; i < n; ++i)
    fwrite(mb.data(), 1, mb.size(), f);
  fclose(f);
}

// Crashes while a process of its own, in another session, lives on; the file "pid" names that one.
void Bad::escape() {
  const TString file = param(fInput, "pid");
  if (::fork() == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    FILE *f = fopen(file + ".new", "w");
    fprintf(f, "%d", ::getpid());
    fclose(f);
    ::rename(file + ".new", file);
    idle();
  }
  while (::access(file, F_OK) != 0)
    ::usleep(1000);
  *reinterpret_cast<volatile int *>(8) = 1;
}

void Bad::misbehave() {
  if (bad == "name") printf("reads %s\n", reader.GetTree()->GetCurrentFile()->GetName());
  if (bad == "segv" || bad == "slavebegin") *reinterpret_cast<volatile int *>(8) = 1;
  if (bad == "abortsig") std::abort();
  if (bad == "exit") std::exit(7);
  if (bad == "_exit") ::_exit(9);
  if (bad == "throw") throw std::runtime_error("something is wrong");
  if (bad == "throwint") throw 42;
  if (bad == "loop")
    for (volatile int i = 0;; i = i + 1) {
    }
  if (bad == "memory")
    for (;;) {
      auto *p = new char[16 << 20];
      for (int i = 0; i < 16 << 20; i += 4096)
        p[i] = 1;
      hoard.push_back(p);
    }
  if (bad == "malloc") // without a look at what it gives
    for (;;) {
      auto *p = static_cast<volatile char *>(std::malloc(16 << 20));
      for (int i = 0; i < 16 << 20; i += 4096)
        p[i] = 1;
    }
  if (bad == "bigmalloc") static_cast<volatile char *>(std::malloc(size_t{64} << 30))[1 << 20] = 1;
  if (bad == "overflow") {
    volatile char deep[1 << 16];
    deep[0] = 1;
    misbehave();
    deep[1] = deep[0];
  }
  const int kilobytes = bad == "flood" ? 1 << 20 : bad == "spill" ? 1 << 15 : 0;
  for (int i = 0; i < kilobytes; ++i)
    printf("%-1023d\n", i);
  if (bad == "abort") Abort("on purpose", kAbortProcess);
  if (bad == "abortfile") Abort("on purpose", kAbortFile);
  if (bad == "sleep") gSystem->Exec("sleep 1000");
  if (bad == "processes") {
    for (int i = 0; i < 100; ++i)
      if (::fork() == 0) idle();
    idle();
  }
  if (bad == "file") writeMegabytes("big", 64);
  if (bad == "scratch") {
    for (int i = 0; i < 8; ++i)
      writeMegabytes(TString::Format("part%d", i), 1);
    idle();
  }
  if (bad == "escape") escape();
  if (bad == "hold") // until the test lets go
    while (::access(param(fInput, "go"), F_OK) != 0)
      ::usleep(1000);
}

void Conform::misbehaveIn(const char *step) {
  if (param(fInput, "step") != step) return;
  bad = param(fInput, "bad");
  printf("about to be bad: %s\n", bad.Data());
  misbehave();
}

void Conform::Begin(TTree *) {
  printf("begins\n");
  misbehaveIn("begin");
  fInput->Add(new TNamed("fromBegin", "yes"));
}

void Conform::SlaveBegin(TTree *) {
  Bad::SlaveBegin(nullptr);
  if (param(fInput, "fromBegin") != "yes") throw std::runtime_error("it is not what Begin has returned");
  misbehaveIn("start");
  fOutput->Add(seen = new TH1D("seen", "entries by their ids", 97, 0, 97));
}

bool Conform::Process(Long64_t entry) {
  Bad::Process(entry);
  seen->Fill(static_cast<double>(*id % 97));
  return true;
}

void Reference::Begin(TTree *) {
  TChain chain(param(fInput, "tree", "T"));
  std::unique_ptr<TObjArray> files(param(fInput, "files").Tokenize(","));
  for (TObject *f : *files)
    chain.Add(f->GetName());
  auto *selector =
      static_cast<TSelector *>(TClass::GetClass(param(fInput, "class", "Hists"))->New());
  TList input;
  selector->SetInputList(&input);
  const Long64_t first = param(fInput, "first", "0").Atoll();
  const Long64_t n = param(fInput, "n", "1000000000").Atoll();
  for (int pass = param(fInput, "passes", "1").Atoi(); pass > 0; --pass) {
    const auto start = std::chrono::steady_clock::now();
    chain.Process(selector, param(fInput, "option"), n, first);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    printf("reference took %.6f\n", took.count());
    if (pass > 1) {
      selector = static_cast<TSelector *>(selector->IsA()->New());
      selector->SetInputList(&input);
    }
  }
  if (param(fInput, "out") == "") return;
  TFile out(param(fInput, "out"), "RECREATE");
  for (TObject *o : *selector->GetOutputList())
    out.WriteTObject(o, o->GetName());
}

static bool close(double a, double b) {
  return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b));
}

static int compareObjects(TObject *a, TObject *b) {
  if (!b || a->IsA() != b->IsA())
    return printf("%s is missing or of another class\n", a->GetName());
  if (auto *list = dynamic_cast<TCollection *>(a)) {
    int bad = list->GetSize() != static_cast<TCollection *>(b)->GetSize();
    for (TObject *o : *list)
      bad += compareObjects(o, static_cast<TCollection *>(b)->FindObject(o->GetName()));
    return bad;
  }
  if (auto *p = dynamic_cast<TParameter<Long64_t> *>(a)) {
    if (TString(p->GetName()) == "slaveEnds" ||
        p->GetVal() == static_cast<TParameter<Long64_t> *>(b)->GetVal())
      return 0;
    return printf("%s: %lld, %lld\n", p->GetName(), p->GetVal(),
                  static_cast<TParameter<Long64_t> *>(b)->GetVal());
  }
  auto *h = dynamic_cast<TH1 *>(a), *g = dynamic_cast<TH1 *>(b);
  if (!h) return 0;
  for (int i = 0; i < h->GetNcells(); ++i)
    if (!close(h->GetBinContent(i), g->GetBinContent(i)) ||
        !close(h->GetBinError(i), g->GetBinError(i)))
      return printf("%s bin %d: %.17g, %.17g\n", h->GetName(), i, h->GetBinContent(i),
                    g->GetBinContent(i));
  if (h->GetEntries() != g->GetEntries())
    return printf("%s: entries %g, %g\n", h->GetName(), h->GetEntries(), g->GetEntries());
  return 0;
}

void Compare::Begin(TTree *) {
  TFile a(param(fInput, "a")), b(param(fInput, "b"));
  int bad = a.GetListOfKeys()->GetSize() != b.GetListOfKeys()->GetSize() ||
            a.GetListOfKeys()->GetSize() == 0;
  for (TObject *key : *a.GetListOfKeys())
    bad += compareObjects(a.Get(key->GetName()), b.Get(key->GetName())) != 0;
  if (bad) Abort("they differ");
}

void Expect::Begin(TTree *) {
  TFile file(param(fInput, "file"));
  for (const char *name : {"count", "slaveEnds"}) {
    const TString want = param(fInput, name);
    auto *p = file.Get<TParameter<Long64_t>>(name);
    if (want == "" || (p && p->GetVal() == want.Atoll())) continue;
    printf("%s is %lld, not %s\n", name, p ? p->GetVal() : -1, want.Data());
    Abort("unexpected");
  }
  std::unique_ptr<TObjArray> names(param(fInput, "has").Tokenize(","));
  for (TObject *n : *names) {
    const TString what = n->GetName();
    if (const Ssiz_t at = what.Index("="); at != kNPOS) { // a histogram and its sum
      auto *h = file.Get<TH1>(TString(what(0, at)));
      if (h && h->GetSumOfWeights() == TString(what(at + 1, what.Length())).Atof()) continue;
    }
    if (file.Get(n->GetName())) continue;
    printf("no %s\n", n->GetName());
    Abort("unexpected");
  }
}

void Aborter::may(const char *step, Long64_t entry) {
  if (in == step && entry == at) Abort(TString::Format("no more of it, says %s", step), kind);
}

void Aborter::SlaveBegin(TTree *) {
  in = param(fInput, "in");
  at = param(fInput, "at", "-1").Atoll();
  if (param(fInput, "kind") == "process") kind = kAbortProcess;
  fOutput->Add(seen = new TH1D("seen", "", 1000, 0, 1000));
  if (in == "namesakes") {
    auto *second = new TH1D("seen", "second", 2, 0, 2);
    second->Fill(0.5);
    fOutput->Add(second);
    fOutput->Add(new TNamed("seen", "third"));
  }
  may("SlaveBegin");
}

void Aborter::Init(TTree *t) {
  tree = t;
  may("Init");
}

bool Aborter::Notify() {
  may("Notify");
  return true;
}

bool Aborter::Process(Long64_t entry) {
  see(entry);
  if (in == "all") tree->GetEntry(entry);
  if (in == "namesakes" && entry % 100 == 0) fOutput->Add(new TNamed("seen", "of an entry"));
  may("Process", entry);
  return true;
}

void Aborter::SlaveTerminate() {
  if (in == "namesakes") fOutput->Add(new TNamed("seen", "fourth"));
  may("SlaveTerminate");
}

void Aborter::Terminate() {
  in = param(fInput, "in");
  may("Terminate");
}

bool Aborter::ProcessCut(Long64_t entry) {
  may("ProcessCut", entry);
  return true;
}

// What an object of fInput is to somebody who looks for it in the ways that selectors do.
static TString seenAs(TObject *o) {
  if (!o) return "none";
  TString out;
  if (auto *p = dynamic_cast<TParameter<double> *>(o)) out += TString::Format(" double %g", p->GetVal());
  if (auto *p = dynamic_cast<TParameter<float> *>(o)) out += TString::Format(" float %g", p->GetVal());
  if (auto *p = dynamic_cast<TParameter<Long64_t> *>(o)) out += TString::Format(" long64 %lld", p->GetVal());
  if (auto *p = dynamic_cast<TParameter<Long_t> *>(o)) out += TString::Format(" long %ld", p->GetVal());
  if (auto *p = dynamic_cast<TParameter<int> *>(o)) out += TString::Format(" int %d", p->GetVal());
  if (auto *p = dynamic_cast<TParameter<bool> *>(o)) out += TString::Format(" bool %d", p->GetVal());
  if (dynamic_cast<TNamed *>(o)) out += TString::Format(" named %s", static_cast<TNamed *>(o)->GetTitle());
  if (auto *h = dynamic_cast<TH1 *>(o)) out += TString::Format(" sum %g", h->GetSumOfWeights());
  if (auto *l = dynamic_cast<TCollection *>(o)) {
    TIter next(l);
    while (TObject *e = next())
      out += TString::Format(" [%s%s]", e->GetName(), seenAs(e).Data());
  }
  return out;
}

void Given::say(const char *step) {
  TString out = TString(step) + ":";
  TIter next(fInput);
  while (TObject *o = next())
    out += TString::Format(" %s%s;", o->GetName(), seenAs(o).Data());
  printf("%s\n", out.Data());
}

void Given::Begin(TTree *) {
  say("Begin");
  if (auto *h = dynamic_cast<TH1 *>(fInput->FindObject("changed"))) h->Fill(0.5, 10);
  if (param(fInput, "adds") == "") return;
  auto *outer = new TList;
  outer->SetName("outer");
  outer->Add(new TNamed("in", "deep"));
  auto *inner = new TList;
  inner->SetName("inner");
  auto *h = new TH1F("far", "", 10, 0, 10);
  h->SetDirectory(nullptr);
  h->Fill(3, 4);
  inner->Add(h);
  outer->Add(inner);
  fInput->Add(outer);
  auto *large = new TH1D("large", "", param(fInput, "adds").Atoi(), 0, 1);
  large->SetDirectory(nullptr);
  large->Fill(0.5, 7);
  fInput->Add(large);
}

void Given::SlaveBegin(TTree *) {
  say("SlaveBegin");
  // What this process does to its list no other may see.
  if (auto *h = dynamic_cast<TH1 *>(fInput->FindObject("large"))) h->Fill(0.5, 1000);
  fInput->Add(new TNamed("mine", "alone"));
}

static void writeHist(TDirectory &dir, const char *name, double weight) {
  TH1D h(name, "", 10, 0, 1);
  h.SetDirectory(nullptr);
  h.Fill(0.5, weight);
  dir.WriteTObject(&h);
}

void MakeObjects::Begin(TTree *) {
  TFile file(param(fInput, "file"), "RECREATE");
  writeHist(file, "changed", 3);
  TDirectory *dir = file.mkdir("dir");
  writeHist(*dir, "h2", 5);
  const TNamed named("n", "x");
  dir->mkdir("deeper")->WriteTObject(&named);
  writeHist(file, "h1", 1);
  writeHist(file, "h1", 2); // a second cycle
  file.WriteTObject(&named);
  file.Close();
}
