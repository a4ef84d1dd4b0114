// compare [-t TOLERANCE] GOT WANT: compares two ROOT files object by object and prints every difference.
// Exit status: 0 equal, 1 different, 2 a file could not be read.
//
// Integers are compared exactly, sums of floating point numbers to the relative tolerance (1e-12), of
// single precision to 1e-6. Where terms may cancel, the tolerance is relative to the bound that
// Cauchy and Schwarz give for the sum of their magnitudes. Lists are compared by name, not by order.

#include <TBufferJSON.h>
#include <TChain.h>
#include <TClass.h>
#include <TClonesArray.h>
#include <TCollection.h>
#include <TDirectory.h>
#include <TEfficiency.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TFile.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TFolder.h>
#include <TGraph.h>
#include <TGraph2D.h>
#include <TH1.h>
#include <TH2.h>
#include <TH3.h>
#include <THStack.h>
#include <THashList.h>
#include <THnBase.h>
#include <TKey.h>
#include <TLeaf.h>
#include <TMap.h>
#include <TMultiGraph.h>
#include <TParameter.h>
#include <TPolyLine.h>
#include <TPolyLine3D.h>
#include <TPolyMarker.h>
#include <TPolyMarker3D.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TProfile3D.h>
#include <TROOT.h>
#include <TStatistic.h>
#include <TTree.h>
#include <TUrl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

double gTolerance = 1e-12;
long gDifferences = 0;
std::map<std::string, long> gPrinted; // lines printed for each object

constexpr long kLinesPerObject = 20;

void differ(const std::string &path, const std::string &what, const std::string &got, const std::string &want)
{
   ++gDifferences;
   if (++gPrinted[path] > kLinesPerObject)
      return;
   std::printf("%s: %s: got %s, want %s\n", path.c_str(), what.c_str(), got.c_str(), want.c_str());
}

std::string show(double x)
{
   char text[40];
   std::snprintf(text, sizeof text, "%.17g", x);
   return text;
}

bool whole(double x)
{
   return std::nearbyint(x) == x && std::abs(x) < 9007199254740992.;
}

void same(const std::string &path, const std::string &what, const std::string &got, const std::string &want)
{
   if (got != want)
      differ(path, what, "\"" + got + "\"", "\"" + want + "\"");
}

void exact(const std::string &path, const std::string &what, double got, double want)
{
   if (got != want && !(std::isnan(got) && std::isnan(want)))
      differ(path, what, show(got), show(want));
}

// near lets got differ from want by the tolerance; magnitude bounds the sum of the terms' magnitudes.
void near(const std::string &path, const std::string &what, double got, double want, double magnitude = 0,
          double tolerance = gTolerance)
{
   if (got == want || (std::isnan(got) && std::isnan(want)))
      return;
   const double scale = std::max({std::abs(got), std::abs(want), magnitude});
   if (!(std::abs(got - want) <= tolerance * scale))
      differ(path, what, show(got), show(want));
}

void compare(const std::string &path, const TObject *got, const TObject *want);

void compareAxis(const std::string &path, const TAxis &got, const TAxis &want)
{
   const std::string name = std::string(want.GetName()) + " ";
   exact(path, name + "bins", got.GetNbins(), want.GetNbins());
   exact(path, name + "low edge", got.GetXmin(), want.GetXmin());
   exact(path, name + "high edge", got.GetXmax(), want.GetXmax());
   same(path, name + "title", got.GetTitle(), want.GetTitle());
   if (got.GetNbins() != want.GetNbins())
      return;
   const bool labels = got.GetLabels() || want.GetLabels();
   for (int i = 1; i <= want.GetNbins(); ++i) {
      exact(path, name + "edge " + std::to_string(i), got.GetBinLowEdge(i), want.GetBinLowEdge(i));
      if (labels)
         same(path, name + "label " + std::to_string(i), got.GetBinLabel(i), want.GetBinLabel(i));
   }
}

void compareStats(const std::string &path, const TH1 &got, const TH1 &want)
{
   double g[TH1::kNstat] = {0}, w[TH1::kNstat] = {0};
   got.GetStats(g);
   want.GetStats(w);
   // sums of w, w2, wx, wx2, wy, wy2, wxy, wz, wz2, wxz, wyz, wt, wt2
   const double bounds[TH1::kNstat] = {0, 0, w[0] * w[3], 0, w[0] * w[5], 0, w[3] * w[5],
                                       w[0] * w[8], 0, w[3] * w[8], w[5] * w[8], w[0] * w[12], 0};
   for (int i = 0; i < TH1::kNstat; ++i)
      near(path, "statistics " + std::to_string(i), g[i], w[i], std::sqrt(std::abs(bounds[i])));
}

// squaresOf returns the sum of squared weights in a bin of a profile, which is that of its weights where all were 1.
template <class P>
double squaresOf(const P &profile, int bin)
{
   auto *sums = const_cast<P &>(profile).GetBinSumw2();
   return sums && sums->GetSize() > bin ? sums->At(bin) : profile.GetBinEntries(bin);
}

// compareProfile compares the sums behind the bins of a TProfile of any dimension.
template <class P>
void compareProfile(const std::string &path, const P &got, const P &want)
{
   const TArrayD &g = got, &w = want;
   for (int i = 0; i < w.GetSize(); ++i) {
      const std::string bin = " in bin " + std::to_string(i);
      exact(path, "entries" + bin, got.GetBinEntries(i), want.GetBinEntries(i));
      const double w2 = want.GetSumw2()->At(i);
      near(path, "sum of y" + bin, g.At(i), w.At(i), std::sqrt(std::abs(w2 * want.GetBinEntries(i))));
      near(path, "sum of y2" + bin, got.GetSumw2()->At(i), w2);
      near(path, "sum of w2" + bin, squaresOf(got, i), squaresOf(want, i));
   }
}

void compareBins(const std::string &path, const TH1 &got, const TH1 &want)
{
   const bool single = want.InheritsFrom(TArrayF::Class());
   exact(path, "length of Sumw2", got.GetSumw2N(), want.GetSumw2N());
   const bool errors = got.GetSumw2N() == want.GetSumw2N() && want.GetSumw2N() > 0;
   for (int i = 0; i < want.GetNcells(); ++i) {
      const std::string bin = " of bin " + std::to_string(i);
      const double g = got.GetBinContent(i), w = want.GetBinContent(i);
      if (whole(g) && whole(w))
         exact(path, "content" + bin, g, w);
      else
         near(path, "content" + bin, g, w, 0, single ? 1e-6 : gTolerance);
      if (errors)
         near(path, "Sumw2" + bin, got.GetSumw2()->At(i), want.GetSumw2()->At(i));
   }
}

void compareHistogram(const std::string &path, const TH1 &got, const TH1 &want)
{
   same(path, "title", got.GetTitle(), want.GetTitle());
   compareAxis(path, *got.GetXaxis(), *want.GetXaxis());
   compareAxis(path, *got.GetYaxis(), *want.GetYaxis());
   compareAxis(path, *got.GetZaxis(), *want.GetZaxis());
   if (got.GetNcells() != want.GetNcells())
      return;
   exact(path, "entries", got.GetEntries(), want.GetEntries());
   compareStats(path, got, want);
   if (auto *p = dynamic_cast<const TProfile *>(&want))
      compareProfile(path, dynamic_cast<const TProfile &>(got), *p);
   else if (auto *p = dynamic_cast<const TProfile2D *>(&want))
      compareProfile(path, dynamic_cast<const TProfile2D &>(got), *p);
   else if (auto *p = dynamic_cast<const TProfile3D *>(&want))
      compareProfile(path, dynamic_cast<const TProfile3D &>(got), *p);
   else
      compareBins(path, got, want);
}

std::map<std::vector<int>, std::pair<double, double>> cells(const THnBase &h)
{
   std::map<std::vector<int>, std::pair<double, double>> out;
   std::vector<int> at(h.GetNdimensions());
   for (Long64_t i = 0; i < h.GetNbins(); ++i) {
      const double content = h.GetBinContent(i, at.data());
      if (content != 0)
         out[at] = {content, h.GetBinError2(i)};
   }
   return out;
}

void compareSparse(const std::string &path, const THnBase &got, const THnBase &want)
{
   exact(path, "dimensions", got.GetNdimensions(), want.GetNdimensions());
   if (got.GetNdimensions() != want.GetNdimensions())
      return;
   for (int i = 0; i < want.GetNdimensions(); ++i)
      compareAxis(path, *got.GetAxis(i), *want.GetAxis(i));
   exact(path, "entries", got.GetEntries(), want.GetEntries());
   const auto g = cells(got), w = cells(want);
   exact(path, "filled bins", g.size(), w.size());
   for (const auto &cell : w) {
      const auto found = g.find(cell.first);
      near(path, "content", found == g.end() ? 0 : found->second.first, cell.second.first);
      near(path, "squared error", found == g.end() ? 0 : found->second.second, cell.second.second);
   }
}

// sublists maps "file:tree" to the entries listed. Directories may differ: files are told by base name.
std::map<std::string, std::set<Long64_t>> sublists(const TEntryList &l)
{
   std::map<std::string, std::set<Long64_t>> out;
   std::vector<TEntryList *> parts;
   auto &list = const_cast<TEntryList &>(l);
   if (list.GetLists())
      for (TObject *o : *list.GetLists())
         parts.push_back(static_cast<TEntryList *>(o));
   else
      parts.push_back(&list);
   for (TEntryList *part : parts) {
      const std::string file = part->GetFileName();
      auto &entries = out[file.substr(file.find_last_of('/') + 1) + ":" + part->GetTreeName()];
      for (Long64_t i = 0; i < part->GetN(); ++i)
         entries.insert(part->GetEntry(i));
   }
   for (auto it = out.begin(); it != out.end();)
      it = it->second.empty() ? out.erase(it) : std::next(it);
   return out;
}

void compareEntryList(const std::string &path, const TEntryList &got, const TEntryList &want)
{
   exact(path, "entries", got.GetN(), want.GetN());
   const auto g = sublists(got), w = sublists(want);
   for (const auto &part : w) {
      const auto found = g.find(part.first);
      if (found == g.end())
         differ(path, part.first, "nothing", std::to_string(part.second.size()) + " entries");
      else if (found->second != part.second)
         differ(path, part.first, "other entries, " + std::to_string(found->second.size()),
                std::to_string(part.second.size()));
   }
   for (const auto &part : g)
      if (!w.count(part.first))
         differ(path, part.first, std::to_string(part.second.size()) + " entries", "nothing");
}

// rows hashes the tree's rows and adds the hashes up: rows may come in any order.
unsigned long long rows(TTree &t)
{
   unsigned long long sum = 0;
   std::vector<TLeaf *> leaves;
   for (TObject *o : *t.GetListOfLeaves())
      leaves.push_back(static_cast<TLeaf *>(o));
   for (Long64_t i = 0; i < t.GetEntries(); ++i) {
      t.GetEntry(i);
      unsigned long long hash = 1469598103934665603ull;
      for (TLeaf *leaf : leaves)
         for (int k = 0; k < leaf->GetLen(); ++k) {
            const double x = leaf->GetValue(k);
            unsigned long long bits;
            std::memcpy(&bits, &x, 8);
            hash = (hash ^ bits) * 1099511628211ull;
            hash ^= hash >> 29;
         }
      sum += hash;
   }
   return sum;
}

void compareTree(const std::string &path, const TTree &got, const TTree &want)
{
   auto &g = const_cast<TTree &>(got), &w = const_cast<TTree &>(want);
   exact(path, "entries", g.GetEntries(), w.GetEntries());
   std::string names[2];
   for (TObject *o : *g.GetListOfLeaves())
      names[0] += std::string(o->GetName()) + " ";
   for (TObject *o : *w.GetListOfLeaves())
      names[1] += std::string(o->GetName()) + " ";
   same(path, "leaves", names[0], names[1]);
   if (names[0] == names[1] && g.GetEntries() == w.GetEntries() && rows(g) != rows(w))
      differ(path, "rows", "other values", "the same values in any order");
}

template <class T>
bool compareParameter(const std::string &path, const TObject *got, const TObject *want)
{
   auto *w = dynamic_cast<const TParameter<T> *>(want);
   if (!w)
      return false;
   const T g = dynamic_cast<const TParameter<T> *>(got)->GetVal();
   if (std::is_integral<T>::value) {
      if (g != w->GetVal()) // not by way of double: Long64_t is wider
         differ(path, "value", std::to_string(g), std::to_string(w->GetVal()));
   } else {
      near(path, "value", g, w->GetVal(), 0, sizeof(T) == 4 ? 1e-6 : gTolerance);
   }
   return true;
}

using Named = std::map<std::pair<std::string, int>, const TObject *>;

// byName gives the objects of a list under their names, the n-th of a name as (name, n).
Named byName(const TCollection &c)
{
   Named out;
   std::map<std::string, int> seen;
   for (const TObject *o : c)
      if (o)
         out[{o->GetName(), seen[o->GetName()]++}] = o;
   return out;
}

void compareNamed(const std::string &path, const Named &got, const Named &want)
{
   for (const auto &item : want) {
      const auto found = got.find(item.first);
      const std::string name = path + "/" + item.first.first;
      if (found == got.end())
         differ(name, "object", "nothing", item.second->ClassName());
      else
         compare(name, found->second, item.second);
   }
   for (const auto &item : got)
      if (!want.count(item.first))
         differ(path + "/" + item.first.first, "object", item.second->ClassName(), "nothing");
}

// newest reads every object of a directory, the highest cycle of each name.
Named newest(const TDirectory &d, std::vector<std::unique_ptr<TObject>> &owner)
{
   Named out;
   for (TObject *o : *const_cast<TDirectory &>(d).GetListOfKeys()) {
      auto *key = static_cast<TKey *>(o);
      if (out.count({key->GetName(), 0}) || TString(key->GetClassName()) == "TProcessID")
         continue; // keys come with falling cycles, and the identity of a process is its own
      TObject *read = key->ReadObj();
      if (!read) {
         std::printf("%s: could not read %s\n", d.GetName(), key->GetName());
         std::exit(2);
      }
      // histograms, trees and directories belong to the file, everything else is ours
      if (!read->InheritsFrom(TH1::Class()) && !read->InheritsFrom(TTree::Class()) &&
          !read->InheritsFrom(TDirectory::Class()))
         owner.emplace_back(read);
      out[{key->GetName(), 0}] = read;
   }
   return out;
}

void compareDirectory(const std::string &path, const TDirectory &got, const TDirectory &want)
{
   std::vector<std::unique_ptr<TObject>> owner;
   const Named g = newest(got, owner), w = newest(want, owner);
   compareNamed(path, g, w);
}

void compareEfficiency(const std::string &path, const TEfficiency &got, const TEfficiency &want)
{
   compare(path + "/passed", got.GetPassedHistogram(), want.GetPassedHistogram());
   compare(path + "/total", got.GetTotalHistogram(), want.GetTotalHistogram());
}

// points gives the numbers of each point of a graph, a marker or a line, sorted: which comes first depends on who
// ran what.
std::vector<std::vector<double>> points(const TObject &o)
{
   std::vector<std::vector<double>> out;
   if (auto *g = dynamic_cast<const TGraph *>(&o)) {
      const std::vector<const double *> columns = {g->GetX(), g->GetY(), g->GetEX(), g->GetEXlow(), g->GetEXhigh(),
                                             g->GetEY(), g->GetEYlow(), g->GetEYhigh(), g->GetEXlowd(),
                                             g->GetEXhighd(), g->GetEYlowd(), g->GetEYhighd()};
      for (int i = 0; i < g->GetN(); ++i) {
         out.emplace_back();
         for (const double *c : columns)
            out.back().push_back(c ? c[i] : 0);
      }
   } else if (auto *g2 = dynamic_cast<const TGraph2D *>(&o)) {
      for (int i = 0; i < g2->GetN(); ++i)
         out.push_back({g2->GetX()[i], g2->GetY()[i], g2->GetZ()[i]});
   } else if (auto *m = dynamic_cast<const TPolyMarker *>(&o)) {
      for (int i = 0; i <= m->GetLastPoint(); ++i)
         out.push_back({m->GetX()[i], m->GetY()[i]});
   } else if (auto *l = dynamic_cast<const TPolyLine *>(&o)) {
      for (int i = 0; i <= l->GetLastPoint(); ++i)
         out.push_back({l->GetX()[i], l->GetY()[i]});
   } else {
      auto *m3 = dynamic_cast<const TPolyMarker3D *>(&o);
      auto *l3 = dynamic_cast<const TPolyLine3D *>(&o);
      const Float_t *p = m3 ? m3->GetP() : l3->GetP();
      for (int i = 0; i <= (m3 ? m3->GetLastPoint() : l3->GetLastPoint()); ++i)
         out.push_back({p[3 * i], p[3 * i + 1], p[3 * i + 2]});
   }
   std::sort(out.begin(), out.end());
   return out;
}

bool hasPoints(const TObject &o)
{
   return o.InheritsFrom(TGraph::Class()) || o.InheritsFrom(TGraph2D::Class()) ||
          o.InheritsFrom(TPolyMarker::Class()) || o.InheritsFrom(TPolyLine::Class()) ||
          o.InheritsFrom(TPolyMarker3D::Class()) || o.InheritsFrom(TPolyLine3D::Class());
}

void comparePoints(const std::string &path, const TObject &got, const TObject &want)
{
   const auto g = points(got), w = points(want);
   exact(path, "points", g.size(), w.size());
   if (g.size() == w.size() && g != w)
      differ(path, "points", "others", "the same ones in any order");
}

// texts gives what the elements of a collection consist of, sorted.
std::multiset<std::string> texts(const TCollection &c)
{
   std::multiset<std::string> out;
   for (const TObject *o : c)
      if (o)
         out.insert(o->InheritsFrom(TFileInfo::Class())
                       ? const_cast<TFileInfo *>(static_cast<const TFileInfo *>(o))->GetFirstUrl()->GetUrl()
                       : TBufferJSON::ToJSON(o).Data());
   return out;
}

void compareTexts(const std::string &path, const TCollection &got, const TCollection &want)
{
   const auto g = texts(got), w = texts(want);
   exact(path, "elements", g.size(), w.size());
   if (g.size() == w.size() && g != w)
      differ(path, "elements", "others", "the same ones in any order");
}

void compareMap(const std::string &path, const TMap &got, const TMap &want)
{
   exact(path, "keys", got.GetSize(), want.GetSize());
   for (const TObject *key : want) {
      const std::string name = path + "/" + key->GetName();
      const TObject *g = got.GetValue(key->GetName()), *w = want.GetValue(key->GetName());
      if (!g || !w)
         differ(name, "value", g ? g->ClassName() : "nothing", w ? w->ClassName() : "nothing");
      else
         compare(name, g, w);
   }
}

void compareStatistic(const std::string &path, const TStatistic &got, const TStatistic &want)
{
   exact(path, "entries", got.GetN(), want.GetN());
   exact(path, "minimum", got.GetMin(), want.GetMin());
   exact(path, "maximum", got.GetMax(), want.GetMax());
   near(path, "weights", got.GetW(), want.GetW());
   near(path, "mean", got.GetMean(), want.GetMean(), want.GetRMS());
   near(path, "squares", got.GetM2(), want.GetM2());
}

void compareEvents(const std::string &path, const TEventList &got, const TEventList &want)
{
   exact(path, "entries", got.GetN(), want.GetN());
   for (int i = 0; i < want.GetN() && i < got.GetN(); ++i)
      exact(path, "entry " + std::to_string(i), got.GetEntry(i), want.GetEntry(i));
}

void compare(const std::string &path, const TObject *got, const TObject *want)
{
   if (got->IsA() != want->IsA())
      return differ(path, "class", got->ClassName(), want->ClassName());
   if (auto *w = dynamic_cast<const TDirectory *>(want))
      return compareDirectory(path, dynamic_cast<const TDirectory &>(*got), *w);
   if (auto *w = dynamic_cast<const TH1 *>(want))
      return compareHistogram(path, dynamic_cast<const TH1 &>(*got), *w);
   if (auto *w = dynamic_cast<const THnBase *>(want))
      return compareSparse(path, dynamic_cast<const THnBase &>(*got), *w);
   if (auto *w = dynamic_cast<const TEfficiency *>(want))
      return compareEfficiency(path, dynamic_cast<const TEfficiency &>(*got), *w);
   if (auto *w = dynamic_cast<const TEntryList *>(want))
      return compareEntryList(path, dynamic_cast<const TEntryList &>(*got), *w);
   if (auto *w = dynamic_cast<const TEventList *>(want))
      return compareEvents(path, dynamic_cast<const TEventList &>(*got), *w);
   if (auto *w = dynamic_cast<const TChain *>(want))
      return compareTexts(path, *dynamic_cast<const TChain &>(*got).GetListOfFiles(), *w->GetListOfFiles());
   if (auto *w = dynamic_cast<const TMultiGraph *>(want))
      return compareNamed(path, byName(*dynamic_cast<const TMultiGraph &>(*got).GetListOfGraphs()),
                          byName(*w->GetListOfGraphs()));
   if (auto *w = dynamic_cast<const TFolder *>(want))
      return compareNamed(path, byName(*dynamic_cast<const TFolder &>(*got).GetListOfFolders()),
                          byName(*w->GetListOfFolders()));
   if (auto *w = dynamic_cast<const THStack *>(want))
      return compareNamed(path, byName(*dynamic_cast<const THStack &>(*got).GetHists()), byName(*w->GetHists()));
   if (auto *w = dynamic_cast<const TStatistic *>(want))
      return compareStatistic(path, dynamic_cast<const TStatistic &>(*got), *w);
   if (auto *w = dynamic_cast<const TFileCollection *>(want))
      return compareTexts(path, *const_cast<TFileCollection &>(dynamic_cast<const TFileCollection &>(*got)).GetList(),
                          *const_cast<TFileCollection *>(w)->GetList());
   if (hasPoints(*want))
      return comparePoints(path, *got, *want);
   if (auto *w = dynamic_cast<const TMap *>(want))
      return compareMap(path, dynamic_cast<const TMap &>(*got), *w);
   if (auto *w = dynamic_cast<const TClonesArray *>(want))
      return compareTexts(path, dynamic_cast<const TClonesArray &>(*got), *w);
   if (auto *w = dynamic_cast<const TTree *>(want))
      return compareTree(path, dynamic_cast<const TTree &>(*got), *w);
   if (auto *w = dynamic_cast<const TCollection *>(want))
      return compareNamed(path, byName(dynamic_cast<const TCollection &>(*got)), byName(*w));
   if (compareParameter<Long64_t>(path, got, want) || compareParameter<int>(path, got, want) ||
       compareParameter<long>(path, got, want) || compareParameter<double>(path, got, want) ||
       compareParameter<float>(path, got, want) || compareParameter<bool>(path, got, want))
      return;
   same(path, "JSON", TBufferJSON::ToJSON(got).Data(), TBufferJSON::ToJSON(want).Data());
}

std::unique_ptr<TFile> open(const char *name)
{
   std::unique_ptr<TFile> f(TFile::Open(name, "READ"));
   if (!f || f->IsZombie() || f->TestBit(TFile::kRecovered)) {
      std::printf("could not open %s as a complete ROOT file\n", name);
      std::exit(2);
   }
   return f;
}

} // namespace

int program(int argc, char **argv)
{
   int first = 1;
   if (argc > 3 && std::strcmp(argv[1], "-t") == 0) {
      gTolerance = std::atof(argv[2]);
      first = 3;
   }
   if (argc != first + 2) {
      std::printf("usage: compare [-t TOLERANCE] GOT WANT\n");
      return 2;
   }
   gROOT->SetBatch();
   auto got = open(argv[first]);
   auto want = open(argv[first + 1]);
   compareDirectory("", *got, *want);
   for (const auto &object : gPrinted)
      if (object.second > kLinesPerObject)
         std::printf("%s: %ld more differences\n", object.first.c_str(), object.second - kLinesPerObject);
   if (gDifferences)
      std::printf("%ld differences\n", gDifferences);
   return gDifferences ? 1 : 0;
}
