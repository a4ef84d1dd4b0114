// Drawing in a session: `dtpnode draw` fills on the pool, and what comes of it is placed here as TTree::Draw leaves it.
#include "TAttFill.h"
#include "TAttLine.h"
#include "TAttMarker.h"
#include "TChain.h"
#include "TClass.h"
#include "TCut.h"
#include "TDSet.h"
#include "TDirectory.h"
#include "TEntryList.h"
#include "TEnv.h"
#include "TEventList.h"
#include "TFile.h"
#include "TGraph.h"
#include "TH1.h"
#include "TKey.h"
#include "TList.h"
#include "TParameter.h"
#include "TProof.h"
#include "TROOT.h"
#include "TTree.h"
#include "TProfile.h"
#include "TProfile2D.h"
#include "TVirtualPad.h"
#include "TH2.h"
#include "code.h"
#include "drawn.h"
#include "query.h"
#include "session.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

/// What is behind >> in an expression.
struct Target {
  std::string name = "htemp";
  bool named = false;  // the user has
  bool binned = false; // with bins and limits, so that what there is of that name is made anew
  bool adds = false;   // >>+
  bool list = false;   // nothing is before >>: a list of entries is made
  size_t columns = 1;
  std::vector<int> bins; // of x, y and z, as far as they are given

  explicit Target(const TString &expression) {
    const Ssiz_t at = expression.Last('>');
    const bool into = at >= 1 && expression[at - 1] == '>';
    const TString drawn = into ? TString(expression(0, at - 1)) : expression;
    columns = dtpnode::columnsOf(drawn).size();
    if (!into) return;
    named = true;
    list = drawn.Strip(TString::kBoth).IsNull();
    TString text = TString(expression(at + 1, expression.Length())).Strip(TString::kBoth);
    if (text.BeginsWith("+")) {
      adds = true;
      text.Remove(0, 1);
    }
    if (const Ssiz_t open = text.First('('); open != kNPOS) {
      binned = true;
      TString number;
      Int_t field = 0;
      for (Ssiz_t from = open + 1; text.Tokenize(number, from, "[,)]"); ++field)
        if (field % 3 == 0) bins.push_back(number.Atoi());
      text.Remove(open);
    }
    name = TString(text.Strip(TString::kBoth)).Data();
    if (name.empty()) { // bins without a name, as in >>(100,0,200)
      name = "htemp";
      named = false;
    }
  }
};

/// So many rows are drawn as points, as many as `dtpnode draw` keeps (its --estimate).
constexpr Long64_t kMostPoints = 1000000;

/// ROOT's settings of numbers of bins, for axes of which none is given.
const char *const kBinning[] = {"1D.x", "2D.x", "2D.Prof", "2D.y", "3D.x", "3D.Profx", "3D.y", "3D.Profy", "3D.z"};

/// As TTree::Draw does, remembers numbers of bins that are given for what is drawn without.
void rememberBins(const Target &target) {
  const auto set = [](const char *name, int n) { gEnv->SetValue((std::string("Hist.Binning.") + name).c_str(), n); };
  static const std::map<std::pair<size_t, size_t>, std::vector<const char *>> names = {
      {{1, 0}, {"1D.x"}},           {{2, 0}, {"2D.x", "2D.Prof"}},   {{2, 1}, {"2D.y"}},
      {{3, 0}, {"3D.x", "3D.Profx"}}, {{3, 1}, {"3D.y", "3D.Profy"}}, {{3, 2}, {"3D.z"}}};
  for (size_t axis = 0; axis < target.bins.size(); ++axis)
    if (const auto it = names.find({target.columns, axis}); it != names.end())
      for (const char *name : it->second)
        set(name, target.bins[axis]);
}

/// How a result is drawn: without the words that were for filling it.
TString pictureOption(Option_t *option) {
  TString how(option);
  how.ToLower();
  for (const char *word : {"goff", "profs", "profi", "profg", "prof", "norm", "entrylistarray", "entrylist"})
    how.ReplaceAll(word, "");
  return how;
}

/// What is in the memory of a directory under a name, or in its file. TDirectory::FindObject would not do: that of
/// gROOT also looks into the current directory and all files.
TObject *existing(TDirectory *dir, const char *name) { return dir ? dir->Get(name) : nullptr; }

/// Writes an empty histogram like the user's own, so that nodes fill one of its class and bins. Empty if that fails.
std::string written(TH1 &like, dtpnode::Session &session) {
  const std::string path = session.temporary(".root");
  TDirectory::TContext keep;
  std::unique_ptr<TFile> file(TFile::Open(path.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) return "";
  std::unique_ptr<TH1> copy(static_cast<TH1 *>(like.Clone()));
  copy->SetDirectory(nullptr);
  copy->Reset();
  const bool good = file->WriteTObject(copy.get(), like.GetName()) > 0;
  file->Close();
  return good ? path : "";
}

/// Adds what the pool has filled to the user's histogram. Axes that were extended differ.
void addTo(TH1 &mine, TH1 &filled) {
  const auto same = [](const TAxis &a, const TAxis &b) {
    return a.GetNbins() == b.GetNbins() && a.GetXmin() == b.GetXmin() && a.GetXmax() == b.GetXmax() && !a.GetLabels() &&
           !b.GetLabels();
  };
  if (mine.GetEntries() == 0 && filled.GetEntries() == 0) return;
  if (mine.GetBufferLength() <= 0 && same(*mine.GetXaxis(), *filled.GetXaxis()) &&
      same(*mine.GetYaxis(), *filled.GetYaxis()) && same(*mine.GetZaxis(), *filled.GetZaxis())) {
    mine.Add(&filled);
    return;
  }
  TList list;
  list.Add(&filled);
  mine.Merge(&list);
}

/// Numbers of a list by files as numbers over all files of a set, as a TEventList has them.
void enterAll(TEventList &out, TEntryList &in, TDSet &set) {
  std::map<std::string, TEntryList *> byFile;
  if (in.GetLists()) {
    TIter next(in.GetLists());
    while (auto *part = static_cast<TEntryList *>(next()))
      byFile[part->GetFileName()] = part;
  } else if (in.GetN() > 0) {
    byFile[in.GetFileName()] = &in;
  }
  Long64_t before = 0;
  TIter next(set.GetListOfElements());
  while (auto *e = static_cast<TDSetElement *>(next())) {
    if (const auto it = byFile.find(dtpnode::urlOf(*e)); it != byFile.end()) {
      TEntryList &part = *it->second;
      for (Long64_t i = 0, n = part.GetN(); i < n; ++i)
        out.Enter(before + part.GetEntry(static_cast<Int_t>(i)));
    }
    before += e->GetEntries();
  }
}

void setTitle(TNamed &list, bool adds, const char *selection) {
  const TCut given(selection), both = adds ? TCut(list.GetTitle()) || given : given;
  list.SetTitle(both.GetTitle());
}

/// An axis as TTree::Draw has it with the option same: that of a histogram in the pad, else as the pad is.
struct Frame {
  int bins;
  double low, high;

  Frame(const TAxis *axis, const char *setting, int otherwise, double low_, double high_)
      : bins(axis ? axis->GetNbins() : gEnv->GetValue(setting, otherwise)), low(axis ? axis->GetXmin() : low_),
        high(axis ? axis->GetXmax() : high_) {}
};

/// The empty histogram that TTree::Draw makes with the option same for what has no bins and is not there yet.
std::unique_ptr<TH1> sameFrame(const Target &target, const TString &expression, const char *selection,
                               Option_t *option) {
  if (!gPad) gROOT->MakeDefCanvas();
  if (!gPad || target.columns > 2) return nullptr;
  const std::vector<TString> columns = dtpnode::columnsOf(expression);
  const TString title = strlen(selection) > 1 ? TString::Format("%s {%s}", expression.Data(), selection) : expression;
  const char *name = target.name.c_str();
  const bool profile = TString(option).Contains("prof", TString::kIgnoreCase);
  TH1 *shown = nullptr;
  if (target.columns == 1) {
    TIter next(gPad->GetListOfPrimitives());
    while (TObject *o = shown ? nullptr : next())
      shown = dynamic_cast<TH1 *>(o);
  } else {
    shown = dynamic_cast<TH1 *>(gPad->FindObject("htemp"));
  }
  const Bool_t add = TH1::AddDirectoryStatus();
  TH1::AddDirectory(kFALSE);
  std::unique_ptr<TH1> made;
  const char *bins = target.columns == 1 ? "1D.x" : profile ? "2D.Prof" : "2D.x";
  const Frame x(shown ? shown->GetXaxis() : nullptr, (std::string("Hist.Binning.") + bins).c_str(),
                target.columns == 1 || profile ? 100 : 40, gPad->GetUxmin(), gPad->GetUxmax());
  if (target.columns == 1) {
    made = std::make_unique<TH1F>(name, title, x.bins, x.low, x.high);
  } else if (profile) {
    const TString how(option);
    const char *spread = how.Contains("profs", TString::kIgnoreCase)   ? "s"
                         : how.Contains("profi", TString::kIgnoreCase) ? "i"
                         : how.Contains("profg", TString::kIgnoreCase) ? "g"
                                                                       : "";
    made = std::make_unique<TProfile>(name, title, x.bins, x.low, x.high, spread);
  } else {
    const Frame y(shown ? shown->GetYaxis() : nullptr, "Hist.Binning.2D.y", 40, gPad->GetUymin(), gPad->GetUymax());
    made = std::make_unique<TH2F>(name, title, x.bins, x.low, x.high, y.bins, y.low, y.high);
  }
  TH1::AddDirectory(add);
  if (!target.named && !profile) {
    made->GetXaxis()->SetTitle(columns.back());
    if (columns.size() > 1) made->GetYaxis()->SetTitle(columns.front());
  }
  return made;
}

/// Whether TTree::Draw would show the rows of two columns as points, by its option without the words for filling.
bool showsPoints(const Target &target, const TString &how) {
  if (target.columns != 2 || target.list) return false;
  const TString same = TString(how).ReplaceAll("same", "").Strip(TString::kBoth);
  bool points = same.IsNull();
  for (const char *word : {"p", "*", "l"})
    points = points || how.Contains(word);
  for (const char *word : {"surf", "lego", "cont", "col", "hist", "scat", "box"})
    points = points && !how.Contains(word);
  return points;
}

/// The colours and styles that TTree::Draw takes from the tree.
void setAttributes(TH1 &h, const TTree &tree) {
  tree.TAttLine::Copy(h);
  tree.TAttFill::Copy(h);
  tree.TAttMarker::Copy(h);
}

} // namespace

namespace dtpnode {

std::vector<TString> columnsOf(const TString &text) {
  std::vector<TString> out;
  bool ternary = false;
  Ssiz_t from = 0;
  for (Ssiz_t i = 0; i < text.Length(); ++i) {
    if (text[i] == '?') ternary = true;
    const bool scope = (i > 0 && text[i - 1] == ':') || (i + 1 < text.Length() && text[i + 1] == ':');
    if (text[i] != ':' || scope) continue;
    if (!ternary) {
      out.push_back(text(from, i - from));
      from = i + 1;
    }
    ternary = false;
  }
  out.push_back(text(from, text.Length() - from));
  return out;
}

const char *onlyOfRows(const char *varexp, Option_t *option) {
  const Target target(varexp ? varexp : "");
  TString how(option);
  how.ToLower();
  if (target.list) return nullptr;
  for (const char *word : {"para", "candle", "gl5d"})
    if (how.Contains(word)) return word;
  if (target.columns > 3) return "more than three columns";
  if (target.columns == 3 && how.Contains("col")) return "three columns with the option col";
  if (target.columns == 3 && how.Contains("same")) return "three columns with the option same";
  return nullptr;
}

} // namespace dtpnode

Long64_t TProof::DrawSelect(TDSet *set, const char *varexp, const char *selection, Option_t *option, Long64_t n,
                            Long64_t first) {
  dtpnode::Query q;
  q.set = set;
  q.n = n < 0 || n >= TTree::kMaxEntries ? -1 : n;
  q.first = first;
  return Draw(q, varexp, selection, option);
}

Long64_t TProof::DrawSelect(const char *name, const char *varexp, const char *selection, Option_t *option, Long64_t n,
                            Long64_t first, TObject *list) {
  dtpnode::Query q;
  q.dataset = name ? name : "";
  q.n = n < 0 || n >= TTree::kMaxEntries ? -1 : n;
  q.first = first;
  q.entryList = list;
  return Draw(q, varexp, selection, option);
}

Long64_t TProof::DrawChain(TTree *chain, const char *varexp, const char *selection, Option_t *option, Long64_t n,
                           Long64_t first) {
  if (dtpnode::isPast(*chain, first)) return 0; // as TChain::Draw does, which makes no histogram
  TDSet set(*static_cast<TChain *>(chain), kFALSE);
  dtpnode::Query q;
  q.set = &set;
  q.chain = chain;
  q.n = n < 0 || n >= TTree::kMaxEntries ? -1 : n;
  const TEntryList *list = chain->GetEntryList();
  q.first = list ? std::min(first, list->GetN()) : first; // behind its end there is nothing to draw
  return Draw(q, varexp, selection, option);
}

namespace {

/// What the pool made of a drawing.
struct Drawn {
  std::unique_ptr<TH1> histogram;
  std::unique_ptr<TEntryList> list;
  std::unique_ptr<TGraph> graph; // of the rows, if they were wanted and are not too many
  Long64_t selected = 0;
};

bool readDrawn(const std::string &path, Drawn &out) {
  TDirectory::TContext keep;
  const Bool_t add = TH1::AddDirectoryStatus();
  TH1::AddDirectory(kFALSE);
  std::unique_ptr<TFile> file(TFile::Open(path.c_str()));
  const bool good = file && !file->IsZombie();
  TIter next(good ? file->GetListOfKeys() : nullptr);
  while (auto *key = static_cast<TKey *>(next())) {
    std::unique_ptr<TObject> o(key->ReadObj());
    if (auto *n = dynamic_cast<TParameter<Long64_t> *>(o.get())) {
      out.selected = n->GetVal();
    } else if (auto *h = dynamic_cast<TH1 *>(o.get())) {
      dtpnode::detach(*h);
      o.release();
      out.histogram.reset(h);
    } else if (auto *graph = dynamic_cast<TGraph *>(o.get())) {
      o.release();
      out.graph.reset(graph);
    } else if (auto *list = dynamic_cast<TEntryList *>(o.get())) {
      dtpnode::detach(*list);
      o.release();
      out.list.reset(list);
    }
  }
  TH1::AddDirectory(add);
  return good;
}

/// Shows the rows of a scatter plot as TTree::Draw does: a frame, unless it is added to what is in the pad, and on it
/// the points. A histogram without a name is the frame itself, and empty.
void showPoints(TH1 &h, std::unique_ptr<TGraph> graph, const TTree *tree, bool named, const TString &how) {
  const bool same = how.Contains("same");
  if (!named) h.Reset();
  if (!same && named) {
    auto *frame = static_cast<TH1 *>(h.Clone());
    frame->SetDirectory(nullptr);
    frame->Reset();
    frame->SetBit(kCanDelete);
    frame->SetStats(kFALSE);
    frame->Draw();
  } else if (!same) {
    h.SetBit(TH1::kNoStats);
    h.Draw();
  }
  if (gPad) gPad->Update();
  graph->SetName("Graph");
  graph->SetTitle("Graph");
  graph->SetEditable(kFALSE);
  if (tree) {
    tree->TAttLine::Copy(*graph);
    tree->TAttFill::Copy(*graph);
    tree->TAttMarker::Copy(*graph);
  }
  graph->SetBit(kCanDelete);
  const TString words = TString(how).ReplaceAll("same", "").Strip(TString::kBoth);
  graph.release()->Draw(words.IsNull() ? "p" : how.Data()); // the pad's
}

/// Gives the user's list, or a new one in the current directory, the entries that the pool has listed.
TObject *placeList(dtpnode::Query &query, std::unique_ptr<TEntryList> made, TObject *old, bool adds, bool entries,
                   const char *selection) {
  if (!entries) {
    auto *list = static_cast<TEventList *>(old);
    if (!list) list = new TEventList(made->GetName(), selection, 1000, 0);
    if (!adds) list->Reset();
    enterAll(*list, *made, *query.set);
    setTitle(*list, adds && old, selection);
    return list;
  }
  auto *list = static_cast<TEntryList *>(old);
  if (!list) {
    made->SetTitle(TCut(selection).GetTitle());
    made->SetDirectory(gDirectory);
    return made.release();
  }
  if (!adds) list->Reset();
  list->Add(made.get());
  setTitle(*list, adds, selection);
  return list;
}

} // namespace

Long64_t TProof::Draw(dtpnode::Query &query, const char *varexp, const char *selection, Option_t *option) {
  fLastError = "";
  if (!fSession) return Failed("DrawSelect", "the session is closed: open another by TProof::Open(\"\")");
  if (!varexp || !*varexp) return Failed("DrawSelect", "there is nothing to draw: the expression is empty");
  ++fDraws;
  fHasOutput = kFALSE;
  fOutput->Clear("nodelete");
  const Target target(varexp);
  const bool shown = !TString(option).Contains("goff", TString::kIgnoreCase);
  TDirectory *here = gDirectory;
  TObject *old = existing(here, target.name.c_str());
  if (old && !target.named) { // as with ROOT, the histogram without a name is made anew each time
    delete old;
    old = nullptr;
  }
  const bool entries = TString(option).Contains("entrylist", TString::kIgnoreCase) || !query.set;
  const TClass *wanted = !target.list ? TH1::Class() : entries ? TEntryList::Class() : TEventList::Class();
  if (old && !old->InheritsFrom(wanted)) {
    return Failed("DrawSelect", std::string("an object of the class ") + old->ClassName() + " has the name " +
                                    target.name + " already: delete it, or take another name");
  }
  std::vector<std::string> flags;
  TString expression(varexp);
  std::unique_ptr<TH1> frame;
  if (shown && (!old || target.binned) && !target.list && TString(option).Contains("same", TString::kIgnoreCase)) {
    const Ssiz_t end = expression.Last('>');
    const bool into = end > 0 && expression[end - 1] == '>';
    const TString drawn = into ? TString(expression(0, end - 1)) : expression;
    frame = sameFrame(target, drawn, selection ? selection : "", option);
    // By its name it is found; bins that are given do not count, as with ROOT.
    if (frame) expression = drawn + ">>" + target.name.c_str();
  }
  TH1 *like = frame ? frame.get() : dynamic_cast<TH1 *>(old);
  if (like && (frame || !target.binned)) {
    const std::string path = written(*like, *fSession);
    if (path.empty())
      return Failed("DrawSelect", std::string("could not write ") + like->GetName() + " to " + fSession->folder());
    flags.insert(flags.end(), {"--booked", path});
  }
  const TString how = pictureOption(option);
  const bool profile = TString(option).Contains("prof", TString::kIgnoreCase) ||
                       (old && (old->InheritsFrom(TProfile::Class()) || old->InheritsFrom(TProfile2D::Class())));
  const bool points = shown && !profile && showsPoints(target, how);
  if (points) flags.emplace_back("--points");
  rememberBins(target);
  for (const char *name : kBinning)
    if (const std::string full = std::string("Hist.Binning.") + name; gEnv->Defined(full.c_str()))
      flags.insert(flags.end(), {"--bins", std::string(name) + "=" + std::to_string(gEnv->GetValue(full.c_str(), 0))});
  std::string out;
  if (!DrawOnPool(query, flags, expression, selection, option, out)) return -1;
  Drawn got;
  if (!readDrawn(out, got) || !(got.histogram || got.list))
    return Failed("DrawSelect", "could not read what was drawn from " + out);
  if (got.list) {
    TObject *list = placeList(query, std::move(got.list), old, target.adds, entries, selection);
    list->SetBit(kMustCleanup);
    fOutput->Add(list);
    fHasOutput = kTRUE;
    return got.selected;
  }
  auto *h = static_cast<TH1 *>(old);
  if (h && !target.binned && h->IsA() == got.histogram->IsA() && h->GetDimension() == got.histogram->GetDimension()) {
    if (!target.adds) h->Reset();
    addTo(*h, *got.histogram);
  } else {
    delete h;
    h = got.histogram.release();
    if (query.chain) setAttributes(*h, *query.chain);
    if (!target.named) h->SetBit(kCanDelete);
    if ((target.named || !shown) && TH1::AddDirectoryStatus()) h->SetDirectory(here);
  }
  if (const double sum = h->GetSumOfWeights(); TString(option).Contains("norm", TString::kIgnoreCase) && sum != 0)
    h->Scale(1 / sum);
  h->SetBit(kMustCleanup);
  fOutput->Add(h);
  fHasOutput = kTRUE;
  if (points && got.graph)
    showPoints(*h, std::move(got.graph), query.chain, target.named, how);
  else if (shown)
    h->Draw(how);
  if (points && !fToldOfPoints && got.selected > kMostPoints) {
    fToldOfPoints = kTRUE;
    Info("DrawSelect", "there are more than %lld rows, so they are not drawn as points, but as the histogram %s; a "
                       "picture of the density: the options colz or box (this is said once)",
         kMostPoints, h->GetName());
  }
  return got.selected;
}
namespace {

/// A selection times the weight that the user has given the whole chain (TChain::SetWeight with "global"), which ROOT
/// multiplies what it fills by. The pool reads the files, which do not know of it.
TString weighted(TTree *chain, const char *selection) {
  const TString cut(selection ? selection : "");
  if (!chain || !chain->TestBit(TChain::kGlobalWeight)) return cut;
  const TString weight = TString::Format("%.17g", chain->GetWeight());
  return cut.Strip(TString::kBoth).IsNull() ? weight : TString::Format("(%s)*%s", cut.Data(), weight.Data());
}

} // namespace

/// Has `dtpnode draw` fill on the pool, into a file of the session. False if that failed, of which the user was told.
Bool_t TProof::DrawOnPool(dtpnode::Query &query, const std::vector<std::string> &flags, const char *varexp,
                          const char *selection, Option_t *option, std::string &out) {
  std::string error;
  const std::vector<std::string> data = dtpnode::dataArguments(query, *fSession, error);
  if (!error.empty()) return Failed("DrawSelect", error) == 0;
  out = fSession->temporary(".root");
  std::vector<std::string> args{"draw", "-o", out, "--session", "--skip-missing"};
  for (const std::vector<std::string> &more : {data, fCode->arguments(""), flags})
    args.insert(args.end(), more.begin(), more.end());
  args.insert(args.end(), {"--", varexp, weighted(query.chain, selection).Data(), option ? option : ""}); // they may begin with -
  int status = 0;
  const auto quiet = [](const dtpnode::JobStatus &) {};
  const auto print = [](const std::string &text) { Printf("%s", text.c_str()); };
  const dtpnode::JobStatus end = fSession->follow(args, quiet, print, status);
  if (status != 0 && status != 3) {
    return Failed("DrawSelect", end.error.empty() ? "could not draw" : end.error, end.hint) == 0;
  }
  if (status == 3 && end.done < end.units)
    Warning("DrawSelect", "%lld of %lld entries are missing: see `dtpnode status %s`", end.units - end.done, end.units,
            end.id.c_str());
  else if (status == 3) // whole files, of which nobody knows how many entries they have
    Warning("DrawSelect", "files are missing: `dtpnode status %s` names them", end.id.c_str());
  return kTRUE;
}

Long64_t TProof::CountChain(TTree *chain, const char *selection) {
  fLastError = "";
  if (!fSession) return Failed("GetEntries", "the session is closed: open another by TProof::Open(\"\")");
  TDSet set(*static_cast<TChain *>(chain), kFALSE);
  dtpnode::Query q;
  q.set = &set;
  q.chain = chain;
  std::string out;
  Drawn got;
  if (!DrawOnPool(q, {"--count"}, "", selection, "", out)) return -1;
  if (readDrawn(out, got)) return got.selected;
  return Failed("GetEntries", "could not read what was counted from " + out);
}
