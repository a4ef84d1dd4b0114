#include "DtpnodeDraw.h"
#include "DtpnodeLabels.h"

#include <TCanvas.h>
#include <TCollection.h>
#include <TChain.h>
#include <TEntryList.h>
#include <TError.h>
#include <TFile.h>
#include <TFriendElement.h>
#include <TGraph.h>
#include <TH2.h>
#include <TH3.h>
#include <THLimitsFinder.h>
#include <TLeaf.h>
#include <TObjArray.h>
#include <TObjString.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TROOT.h>
#include <TStyle.h>
#include <TSystem.h>
#include <TTreeFormula.h>
#include <TTreeFormulaManager.h>

#include <algorithm>
#include <cctype>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

ClassImp(DtpnodeRows);
ClassImp(DtpnodeLabels);

namespace {

// What ROOT prints while a formula is compiled says what is wrong with it.
std::string lastError;
ErrorHandlerFunc_t usual = nullptr;

void rememberError(int level, Bool_t abort, const char *where, const char *text)
{
   if (level >= kError) {
      lastError = text;
      return; // it is told with what is to be done about it
   }
   usual(level, abort, where, text);
}

// Splits an expression at the colons that part columns, but not at :: and those of ?:.
std::vector<TString> columnsOf(const TString &text)
{
   std::vector<TString> out;
   bool ternary = false;
   Int_t from = 0;
   for (Int_t i = 0; i < text.Length(); ++i) {
      if (text[i] == '?')
         ternary = true;
      const bool scope = (i > 0 && text[i - 1] == ':') || (i + 1 < text.Length() && text[i + 1] == ':');
      if (text[i] != ':' || scope)
         continue;
      if (!ternary) {
         out.push_back(text(from, i - from));
         from = i + 1;
      }
      ternary = false;
   }
   out.push_back(text(from, text.Length() - from));
   return out;
}

std::vector<double> numbersOf(const TString &text, const char *separators)
{
   std::vector<double> out;
   TObjArray *words = text.Tokenize(separators);
   for (TObject *word : *words)
      out.push_back(static_cast<TObjString *>(word)->GetString().Atof());
   delete words;
   return out;
}

double at(const std::vector<double> &values, size_t i, double otherwise)
{
   return i < values.size() ? values[i] : otherwise;
}

// Takes ">>+name(binning)" off an expression.
void takeTarget(DtpnodeDrawing &d)
{
   const Ssiz_t where = d.fExpression.Last('>');
   if (where < 1 || d.fExpression[where - 1] != '>') {
      d.fName = "htemp";
      return;
   }
   TString target = d.fExpression(where + 1, d.fExpression.Length());
   d.fExpression.Remove(where - 1);
   d.fKeep = true;
   target = target.Strip(TString::kBoth);
   if (target.BeginsWith("+")) {
      d.fAdd = true;
      target.Remove(0, 1);
   }
   const Ssiz_t open = target.First('('), close = target.Last(')');
   if (open >= 0 && close > open) {
      d.fBinning = numbersOf(target(open + 1, close - open - 1), ",");
      target.Remove(open);
   }
   d.fName = target.Strip(TString::kBoth);
   if (d.fName.IsNull()) { // bins without a name, as in >>(100,0,200)
      d.fName = "htemp";
      d.fKeep = false;
   }
}

// The branches whose names are most like a word, so that who misspelt one finds it.
TString alike(TTree &tree, const std::string &word)
{
   auto distance = [](const std::string &a, const std::string &b) {
      std::vector<size_t> row(b.size() + 1);
      for (size_t j = 0; j <= b.size(); ++j)
         row[j] = j;
      for (size_t i = 1; i <= a.size(); ++i) {
         size_t corner = row[0];
         row[0] = i;
         for (size_t j = 1; j <= b.size(); ++j) {
            const size_t up = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
            corner = up;
         }
      }
      return row[b.size()];
   };
   std::vector<std::pair<size_t, std::string>> names;
   TIter next(tree.GetListOfLeaves());
   while (TObject *leaf = next()) {
      const size_t d = distance(word, leaf->GetName());
      if (d <= 2 + word.size() / 3)
         names.emplace_back(d, leaf->GetName());
   }
   std::sort(names.begin(), names.end());
   TString out;
   for (size_t i = 0; i < names.size() && i < 3; ++i)
      out += (i ? ", " : "") + TString(names[i].second);
   return out;
}

// The first name in a text that is neither a leaf nor followed by a parenthesis or by ::, as functions are.
std::string unknownName(TTree &tree, const TString &text)
{
   for (Ssiz_t i = 0; i < text.Length();) {
      if (!std::isalpha(static_cast<unsigned char>(text[i])) && text[i] != '_') {
         ++i;
         continue;
      }
      Ssiz_t end = i;
      while (end < text.Length() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
         ++end;
      const TString name = text(i, end - i);
      const char after = end < text.Length() ? text[end] : ' ';
      const bool constant = name.EndsWith("$") || name == "pi" || name == "e";
      if (after != '(' && after != ':' && after != '$' && !constant && !tree.FindLeaf(name) && !tree.FindBranch(name) &&
          !tree.GetAlias(name))
         return name.Data();
      i = end + 1;
   }
   return "";
}

TTreeFormula *compiled(TTree &tree, const char *name, const TString &text)
{
   lastError.clear();
   usual = ::SetErrorHandler(rememberError);
   auto *formula = new TTreeFormula(name, text, &tree);
   ::SetErrorHandler(usual);
   if (formula->GetNdim()) {
      formula->SetQuickLoad(kTRUE);
      return formula;
   }
   delete formula;
   const std::string unknown = unknownName(tree, text);
   TString why = TString::Format("could not use \"%s\" in the tree %s", text.Data(), tree.GetName());
   if (!unknown.empty()) {
      why += TString::Format(": there is no branch %s", unknown.c_str());
      const TString like = alike(tree, unknown);
      if (like.Length())
         why += "; there is " + like;
   } else if (!lastError.empty())
      why += TString(": ") + lastError;
   throw std::runtime_error(why.Data());
}

bool has(const TString &option, const char *word)
{
   TString lower = option;
   lower.ToLower();
   return lower.Contains(word);
}

const char *spreadOf(const TString &option)
{
   return has(option, "profs") ? "s" : has(option, "profi") ? "i" : has(option, "profg") ? "g" : "";
}

bool profiles(const DtpnodeDrawing &d) { return has(d.fOption, "prof") && d.fColumns.size() > 1; }

// The columns that give x, y and z of what is filled, in this order.
double column(const double *values, size_t n, size_t axis) { return values[n - 1 - axis]; }

void fillRow(DtpnodeDrawing &d, const double *v, double w)
{
   const size_t n = d.fColumns.size();
   TH1 *h = d.fHist;
   if (auto *p = dynamic_cast<TProfile *>(h))
      p->Fill(v[1], v[0], w);
   else if (auto *p2 = dynamic_cast<TProfile2D *>(h))
      p2->Fill(v[2], v[1], v[0], w);
   else if (auto *h3 = dynamic_cast<TH3 *>(h))
      h3->Fill(column(v, n, 0), column(v, n, 1), column(v, n, 2), w);
   else if (auto *h2 = dynamic_cast<TH2 *>(h))
      h2->Fill(column(v, n, 0), column(v, n, 1), w);
   else
      h->Fill(v[0], w);
}

// ROOT gave these functions names of their own in 6.40.
template <typename F>
auto findXY(F *f, TH1 *h, double x0, double x1, double y0, double y1, int)
   -> decltype(f->FindGoodLimitsXY(h, x0, x1, y0, y1))
{
   return f->FindGoodLimitsXY(h, x0, x1, y0, y1);
}

template <typename F>
auto findXY(F *f, TH1 *h, double x0, double x1, double y0, double y1, long)
   -> decltype(f->FindGoodLimits(h, x0, x1, y0, y1))
{
   return f->FindGoodLimits(h, x0, x1, y0, y1);
}

template <typename F>
auto findXYZ(F *f, TH1 *h, double x0, double x1, double y0, double y1, double z0, double z1, int)
   -> decltype(f->FindGoodLimitsXYZ(h, x0, x1, y0, y1, z0, z1))
{
   return f->FindGoodLimitsXYZ(h, x0, x1, y0, y1, z0, z1);
}

template <typename F>
auto findXYZ(F *f, TH1 *h, double x0, double x1, double y0, double y1, double z0, double z1, long)
   -> decltype(f->FindGoodLimits(h, x0, x1, y0, y1, z0, z1))
{
   return f->FindGoodLimits(h, x0, x1, y0, y1, z0, z1);
}

// Finds good limits for a histogram, as TTree::Draw does for what it has kept.
void findLimits(DtpnodeDrawing &d, const std::vector<double> &low, const std::vector<double> &high)
{
   auto *finder = THLimitsFinder::GetLimitsFinder();
   const size_t n = low.size();
   TH1 *h = d.fHist;
   if (!h->CanExtendAllAxes())
      return;
   if (n == 1)
      finder->FindGoodLimits(h, low[0], high[0]);
   else if (h->InheritsFrom(TProfile::Class()))
      finder->FindGoodLimits(h, low[1], high[1]);
   else if (h->InheritsFrom(TProfile2D::Class()))
      findXY(finder, h, low[2], high[2], low[1], high[1], 0);
   else if (n == 2)
      findXY(finder, h, low[1], high[1], low[0], high[0], 0);
   else
      findXYZ(finder, h, low[2], high[2], low[1], high[1], low[0], high[0], 0);
}

// Gives a histogram the axes that TTree::Draw would have come to with such values: when a buffered histogram empties
// its buffer, it may extend axes of which the limits were good already.
void adopt(DtpnodeDrawing &d, const std::vector<double> &low, const std::vector<double> &high)
{
   TH1 *real = d.fHist;
   std::unique_ptr<TH1> scratch(static_cast<TH1 *>(real->Clone()));
   d.fHist = scratch.get();
   scratch->SetCanExtend(TH1::kAllAxes);
   findLimits(d, low, high);
   fillRow(d, low.data(), 1);
   fillRow(d, high.data(), 1);
   scratch->BufferEmpty(1);
   d.fHist = real;
   real->SetBuffer(0);
   const TAxis &x = *scratch->GetXaxis(), &y = *scratch->GetYaxis(), &z = *scratch->GetZaxis();
   const int dims = real->InheritsFrom(TProfile::Class()) ? 1 : real->GetDimension();
   if (dims == 1)
      real->SetBins(x.GetNbins(), x.GetXmin(), x.GetXmax());
   else if (dims == 2)
      real->SetBins(x.GetNbins(), x.GetXmin(), x.GetXmax(), y.GetNbins(), y.GetXmin(), y.GetXmax());
   else
      real->SetBins(x.GetNbins(), x.GetXmin(), x.GetXmax(), y.GetNbins(), y.GetXmin(), y.GetXmax(), z.GetNbins(),
                    z.GetXmin(), z.GetXmax());
}

// Where a tree is in the chain of all files. TTreeFormula counts Entry$ and Entries$ in the tree that it is given; one
// of one file alone does not know of the others.
struct InChain {
   Long64_t first = -1;   // number of its first entry; -1 if the tree is a chain, which counts entries itself
   Long64_t entries = -1; // of all files

   // A text with what Entry$ and Entries$ are by what is known in one file, outside of quotes.
   TString In(const TString &text) const
   {
      auto inName = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || strchr("_$@.", c); };
      TString out;
      bool quote = false;
      for (Ssiz_t i = 0; i < text.Length(); ++i) {
         if (text[i] == '"' && (i == 0 || text[i - 1] != '\\'))
            quote = !quote;
         const bool begins = !quote && text[i] == 'E' && (i == 0 || !inName(text[i - 1]));
         auto is = [&](const TString &word) {
            const Ssiz_t end = i + word.Length();
            return begins && TString(text(i, word.Length())) == word && (end == text.Length() || !inName(text[end]));
         };
         if (first >= 0 && is("Entry$")) {
            out += TString::Format("(LocalEntry$+%lld)", first);
            i += 5;
         } else if (entries >= 0 && is("Entries$")) {
            out += TString::Format("%lld", entries);
            i += 7;
         } else
            out += text[i];
      }
      return out;
   }
};

// The lists of aliases that formulas of a tree can name: its own, those of a chain's current tree, and of friends.
void aliasesOf(TTree *tree, std::vector<TList *> &out, int depth = 0)
{
   if (!tree || depth > 3)
      return;
   if (TList *list = tree->GetListOfAliases(); list && std::find(out.begin(), out.end(), list) == out.end())
      out.push_back(list);
   if (tree->GetTree() != tree)
      aliasesOf(tree->GetTree(), out, depth + 1);
   TIter next(tree->GetListOfFriends());
   while (auto *f = static_cast<TFriendElement *>(next()))
      aliasesOf(f->GetTree(), out, depth + 1);
}

// Aliases that are texts for one file for as long as formulas are made of them: these keep what they were made of.
class PlacedAliases {
public:
   PlacedAliases(TTree &tree, const InChain &place)
   {
      std::vector<TList *> lists;
      aliasesOf(&tree, lists);
      for (TList *list : lists)
         for (TObject *o : *list) {
            const TString placed = place.In(o->GetTitle());
            if (placed == o->GetTitle())
               continue;
            fBefore.emplace_back(static_cast<TNamed *>(o), o->GetTitle());
            fBefore.back().first->SetTitle(placed);
         }
   }
   PlacedAliases(const PlacedAliases &) = delete;
   PlacedAliases &operator=(const PlacedAliases &) = delete;
   ~PlacedAliases()
   {
      for (auto &[alias, text] : fBefore)
         alias->SetTitle(text);
   }

private:
   std::vector<std::pair<TNamed *, TString>> fBefore;
};

// The points of a scatter plot, in the order of the entries.
TGraph *graphOf(const DtpnodeRows &rows)
{
   const size_t width = static_cast<size_t>(rows.fColumns) + 1; // and the weight
   std::vector<const double *> points;
   for (size_t at = 0; at + width <= rows.fValues.size(); at += width)
      points.push_back(&rows.fValues[at]);
   std::sort(points.begin(), points.end(), [](const double *a, const double *b) {
      return a[2] != b[2] ? a[2] < b[2] : a[3] < b[3];
   });
   auto *graph = new TGraph(static_cast<Int_t>(points.size()));
   graph->SetName("draw.graph");
   for (size_t i = 0; i < points.size(); ++i)
      graph->SetPoint(static_cast<Int_t>(i), points[i][1], points[i][0]);
   return graph;
}

// A string for JSON.
TString quoted(const char *text)
{
   TString out = "\"";
   for (; *text; ++text) {
      const unsigned char c = static_cast<unsigned char>(*text);
      if (c == '"' || c == '\\')
         out += '\\';
      if (c < 0x20)
         out += TString::Format("\\u%04x", c);
      else
         out += *text;
   }
   return out + "\"";
}

TString axisText(const TAxis &a, int bins)
{
   return TString::Format("{\"bins\":%d,\"min\":%.17g,\"max\":%.17g}", bins, a.GetXmin(), a.GetXmax());
}

double finite(double v) { return std::isfinite(v) ? v : 0; }

// A histogram of a file, in memory; null if there is none.
TH1 *readCopy(const TString &path, const TString &name)
{
   if (path.IsNull() || gSystem->AccessPathName(path))
      return nullptr;
   std::unique_ptr<TFile> file(TFile::Open(path, "READ"));
   auto *old = file && !file->IsZombie() ? dynamic_cast<TH1 *>(file->Get(name)) : nullptr;
   if (!old)
      return nullptr;
   auto *copy = static_cast<TH1 *>(old->Clone());
   copy->SetDirectory(nullptr);
   return copy;
}

// Whether a drawing can be filled into a histogram that there is, by the rules of TTree::Draw.
bool fits(const TH1 &h, const DtpnodeDrawing &d)
{
   const bool one = h.InheritsFrom(TProfile::Class()), two = h.InheritsFrom(TProfile2D::Class());
   if (has(d.fOption, "prof") && d.fColumns.size() > 1 && !one && !two)
      return false;
   const size_t columns = one ? 2 : two ? 3 : static_cast<size_t>(h.GetDimension());
   return columns == d.fColumns.size();
}

// Whether limits of a histogram that there is are still to be found.
bool lacksLimits(const TH1 &h)
{
   const int dims = h.InheritsFrom(TProfile::Class()) ? 1 : h.GetDimension();
   return h.GetXaxis()->GetXmin() >= h.GetXaxis()->GetXmax() ||
          (dims > 1 && h.GetYaxis()->GetXmin() >= h.GetYaxis()->GetXmax()) ||
          (dims > 2 && h.GetZaxis()->GetXmin() >= h.GetZaxis()->GetXmax());
}

// Adds a histogram to one that has its labels and may have others.
void add(TH1 &h, TH1 &old)
{
   bool labels = false;
   for (size_t axis = 0; axis < 3; ++axis)
      labels = labels || dtpnodelabels::axisOf(h, axis).GetLabels();
   if (!labels) {
      h.Add(&old);
      return;
   }
   TList one;
   one.Add(&old);
   h.Merge(&one);
}

// Tells dtpnode of a histogram, so that it can draw it on the terminal, in groups of bins.
void tell(TH1 &h)
{
   const int most = h.GetDimension() == 1 ? 200 : 32, dims = h.GetDimension();
   TString out = "{\"name\":" + quoted(h.GetName()) + ",\"class\":" + quoted(h.ClassName()) +
                 ",\"title\":" + quoted(h.GetTitle());
   out += TString::Format(",\"entries\":%.17g,\"mean\":%.17g,\"rms\":%.17g", finite(h.GetEntries()),
                          finite(h.GetMean()), finite(h.GetStdDev()));
   if (dims < 3) {
      const int nx = h.GetNbinsX(), ny = dims == 2 ? h.GetNbinsY() : 1;
      const int ex = (nx + most - 1) / most, ey = (ny + most - 1) / most;
      const int gx = (nx + ex - 1) / ex, gy = (ny + ey - 1) / ey;
      std::vector<double> sums(static_cast<size_t>(gx) * gy), parts(sums.size());
      for (int y = 1; y <= ny; ++y)
         for (int x = 1; x <= nx; ++x) {
            const size_t i = static_cast<size_t>((y - 1) / ey) * gx + (x - 1) / ex;
            sums[i] += finite(dims == 2 ? h.GetBinContent(x, y) : h.GetBinContent(x));
            parts[i] += 1;
         }
      const bool mean = h.InheritsFrom(TProfile::Class()) || h.InheritsFrom(TProfile2D::Class());
      out += ",\"x\":" + axisText(*h.GetXaxis(), gx);
      if (dims == 2)
         out += ",\"y\":" + axisText(*h.GetYaxis(), gy);
      else
         out += TString::Format(",\"under\":%.17g,\"over\":%.17g", finite(h.GetBinContent(0)),
                                finite(h.GetBinContent(nx + 1)));
      out += ",\"values\":[";
      for (size_t i = 0; i < sums.size(); ++i)
         out += TString::Format("%s%.6g", i ? "," : "", mean && parts[i] ? sums[i] / parts[i] : sums[i]);
      out += "]";
   }
   out += "}";
   constexpr Ssiz_t line = 800; // longer ones would be cut on their way
   for (Ssiz_t at = 0; at < out.Length(); at += line)
      Printf("dtpnode-draw: %s %s", at + line < out.Length() ? "part" : "picture", TString(out(at, line)).Data());
}

} // namespace

DtpnodeRows::DtpnodeRows(const char *name, Int_t columns, Long64_t most)
   : TNamed(name, ""), fColumns(columns), fMost(most), fMin(columns, DBL_MAX), fMax(columns, -DBL_MAX)
{
}

void DtpnodeRows::Add(const double *values, double weight)
{
   ++fCount;
   for (Int_t i = 0; i < fColumns; ++i) {
      if (values[i] < fMin[i])
         fMin[i] = values[i];
      if (values[i] > fMax[i])
         fMax[i] = values[i];
   }
   if (!fWhole)
      return;
   fValues.insert(fValues.end(), values, values + fColumns);
   fValues.push_back(weight);
   DropIfTooMany();
}

void DtpnodeRows::DropIfTooMany()
{
   if (fCount <= fMost)
      return;
   fWhole = kFALSE;
   std::vector<double>().swap(fValues);
}

Long64_t DtpnodeRows::Merge(TCollection *others)
{
   TIter next(others);
   while (TObject *o = next()) {
      auto *other = dynamic_cast<DtpnodeRows *>(o);
      if (!other || other->fColumns != fColumns)
         return -1;
      fCount += other->fCount;
      fWhole = fWhole && other->fWhole;
      for (Int_t i = 0; i < fColumns; ++i) {
         fMin[i] = std::min(fMin[i], other->fMin[i]);
         fMax[i] = std::max(fMax[i], other->fMax[i]);
      }
      if (fWhole)
         fValues.insert(fValues.end(), other->fValues.begin(), other->fValues.end());
      else
         std::vector<double>().swap(fValues);
      DropIfTooMany();
   }
   return fCount;
}

void DtpnodeLabels::See(const std::string &label, Long64_t entry, Int_t element)
{
   for (size_t i = fPlaces.size(); i < fLabels.size(); ++i)
      fPlaces.emplace(fLabels[i], i);
   const auto found = fPlaces.emplace(label, fLabels.size());
   const size_t at = found.first->second;
   if (found.second) {
      fLabels.push_back(label);
      fEntries.push_back(entry);
      fElements.push_back(element);
   } else if (std::make_pair(entry, element) < std::make_pair(fEntries[at], fElements[at])) {
      fEntries[at] = entry;
      fElements[at] = element;
   }
}

Long64_t DtpnodeLabels::Merge(TCollection *others)
{
   TIter next(others);
   while (TObject *o = next()) {
      auto *other = dynamic_cast<DtpnodeLabels *>(o);
      if (!other || other->fEntries.size() != other->fLabels.size() ||
          other->fElements.size() != other->fLabels.size())
         return -1;
      for (size_t i = 0; i < other->fLabels.size(); ++i)
         See(other->fLabels[i], other->fEntries[i], other->fElements[i]);
   }
   return static_cast<Long64_t>(fLabels.size());
}

TString DtpnodeDraw::Param(const char *name) const
{
   TObject *o = fInput ? fInput->FindObject(name) : nullptr;
   TString text = o ? o->GetTitle() : "";
   return text.BeginsWith("=") ? TString(text(1, text.Length())) : TString("");
}

Long64_t DtpnodeDraw::Place(const char *name) const
{
   auto *p = dynamic_cast<TParameter<Long64_t> *>(fInput ? fInput->FindObject(name) : nullptr);
   return p ? p->GetVal() : -1;
}

// Reads what is to be drawn from the input list.
void DtpnodeDraw::Read()
{
   fDrawings.clear();
   const int n = Param("draw.count").Atoi();
   int unnamed = 0;
   for (int i = 0; i < n; ++i) {
      DtpnodeDrawing d;
      d.fExpression = Param(TString::Format("draw.%d.expression", i));
      d.fSelection = Param(TString::Format("draw.%d.selection", i));
      d.fOption = Param("draw.option");
      d.fLimits = numbersOf(Param(TString::Format("draw.%d.limits", i)), " ");
      takeTarget(d);
      if (!d.fKeep && ++unnamed > 1)
         d.fName = TString::Format("htemp%d", unnamed);
      for (const DtpnodeDrawing &other : fDrawings)
         if (other.fName == d.fName && !d.fAdd)
            throw std::runtime_error(TString::Format("could not draw two things as %s: add the second to it with >>+%s",
                                                     d.fName.Data(), d.fName.Data()).Data());
      if (!TString(d.fExpression.Strip(TString::kBoth)).IsNull())
         d.fColumns = columnsOf(d.fExpression);
      if (d.fColumns.size() > 3)
         throw std::runtime_error(TString::Format("could not draw \"%s\": it has %zu columns, at most 3 can be drawn",
                                                  d.fExpression.Data(), d.fColumns.size()).Data());
      d.fCounts = d.fColumns.empty() && !d.fKeep && !Param("draw.counts").IsNull();
      if (d.fColumns.empty() && !d.fKeep && !d.fCounts)
         throw std::runtime_error("could not draw: neither an expression is given nor a list to make (>>name)");
      d.fTitle = d.fSelection.Length() > 1 ? TString::Format("%s {%s}", d.fExpression.Data(), d.fSelection.Data())
                                           : d.fExpression;
      fDrawings.push_back(d);
   }
}

// What is added to, and what is booked with its bins, is handed to all in the input list.
void DtpnodeDraw::Begin(TTree *)
{
   TH1::AddDirectory(false);
   Read();
   for (const char *name : {"dtpnode.first", "dtpnode.entries"}) // set wherever a tree is read
      fInput->Add(new TParameter<Long64_t>(name, -1));
   const TString out = Param("draw.out"), booked = Param("draw.booked");
   for (size_t i = 0; i < fDrawings.size(); ++i) {
      const DtpnodeDrawing &d = fDrawings[i];
      bool before = false;
      for (size_t k = 0; k < i; ++k)
         before = before || fDrawings[k].fName == d.fName;
      if (!d.fKeep || d.fColumns.empty() || before)
         continue;
      TH1 *copy = d.fAdd ? readCopy(out, d.fName) : nullptr;
      if (!copy && d.fBinning.empty())
         copy = readCopy(booked, d.fName);
      if (copy && !fits(*copy, d)) {
         Warning("Begin", "%s is of another kind than what is drawn: it is made anew", d.fName.Data());
         delete copy;
         copy = nullptr;
      }
      if (!copy)
         continue; // it is made, as TTree::Draw does
      copy->SetName("draw.old." + d.fName);
      fInput->Add(copy);
   }
}

TH1 *DtpnodeDraw::Booked(const DtpnodeDrawing &d) const
{
   return dynamic_cast<TH1 *>(fInput ? fInput->FindObject("draw.old." + d.fName) : nullptr);
}

// The number of bins of an axis: as given, or as a session has set it by Hist.Binning of ROOT's settings.
int DtpnodeDraw::Bins(const std::vector<double> &given, size_t i, const char *name, int otherwise) const
{
   const int usual = Param(TString("draw.bins.") + name).Atoi();
   return static_cast<int>(at(given, i, usual > 0 ? usual : otherwise));
}

// The histogram of a drawing, as TTree::Draw makes it.
void DtpnodeDraw::Make(DtpnodeDrawing &d)
{
   const std::vector<double> &b = d.fBinning;
   const size_t n = d.fColumns.size();
   const bool profile = profiles(d);
   const int nx = n == 1    ? Bins(b, 0, "1D.x", 100)
                  : n == 2  ? (profile ? Bins(b, 0, "2D.Prof", 100) : Bins(b, 0, "2D.x", 40))
                  : profile ? Bins(b, 0, "3D.Profx", 100)
                            : Bins(b, 0, "3D.x", 20);
   const int ny = n == 2 ? Bins(b, 3, "2D.y", 40) : profile ? Bins(b, 3, "3D.Profy", 100) : Bins(b, 3, "3D.y", 20);
   const int nz = Bins(b, 6, "3D.z", 20);
   const double x0 = at(b, 1, 0), x1 = at(b, 2, 0), y0 = at(b, 4, 0), y1 = at(b, 5, 0);
   const double z0 = at(b, 7, 0), z1 = at(b, 8, 0);
   const char *name = d.fName, *title = d.fTitle;
   if (TH1 *old = Booked(d)) {
      d.fHist = static_cast<TH1 *>(old->Clone(name));
      d.fHist->Reset();
      d.fExtends = lacksLimits(*old);
      return;
   }
   if (n == 1) {
      d.fHist = new TH1F(name, title, nx, x0, x1);
      d.fExtends = x0 >= x1;
      if (has(d.fOption, "e"))
         d.fHist->Sumw2();
   } else if (n == 2 && profile) {
      d.fHist = new TProfile(name, title, nx, x0, x1, spreadOf(d.fOption));
      d.fExtends = x0 >= x1;
   } else if (n == 2) {
      d.fHist = new TH2F(name, title, nx, x0, x1, ny, y0, y1);
      d.fExtends = x0 >= x1 || y0 >= y1;
   } else if (profile) {
      d.fHist = new TProfile2D(name, title, nx, x0, x1, ny, y0, y1, spreadOf(d.fOption));
      d.fExtends = x0 >= x1 || y0 >= y1;
   } else {
      d.fHist = new TH3F(name, title, nx, x0, x1, ny, y0, y1, nz, z0, z1);
      d.fExtends = x0 >= x1 || y0 >= y1 || z0 >= z1;
   }
   if (d.fKeep)
      return;
   if (!profile) { // TTree::Draw names the axes of what the user has not named
      d.fHist->GetXaxis()->SetTitle(d.fColumns[n - 1]);
      if (n > 1)
         d.fHist->GetYaxis()->SetTitle(d.fColumns[n - 2]);
      if (n > 2)
         d.fHist->GetZaxis()->SetTitle(d.fColumns[0]);
   }
}

void DtpnodeDraw::SlaveBegin(TTree *)
{
   TH1::AddDirectory(false);
   Read();
   for (size_t i = 0; i < fDrawings.size(); ++i) {
      DtpnodeDrawing &d = fDrawings[i];
      d.fSelected = new TParameter<Long64_t>(TString::Format("draw.selected.%zu", i), 0, '+');
      fOutput->Add(d.fSelected);
      if (d.fCounts)
         continue;
      if (d.fColumns.empty()) {
         d.fList = new TEntryList(d.fName, d.fSelection);
         fOutput->Add(d.fList);
         continue;
      }
      for (size_t k = 0; k < i && !d.fHist; ++k)
         if (d.fAdd && fDrawings[k].fName == d.fName && fDrawings[k].fHist) {
            d.fHist = fDrawings[k].fHist;
            d.fExtends = fDrawings[k].fExtends;
            d.fRows = fDrawings[k].fRows;
            d.fShared = true;
         }
      if (d.fShared)
         continue;
      Make(d);
      if (d.fExtends && d.fLimits.empty()) {
         d.fRows = new DtpnodeRows(TString::Format("draw.rows.%zu", i), static_cast<Int_t>(d.fColumns.size()),
                                   Param("draw.estimate").Atoll());
         fOutput->Add(d.fRows);
      }
      fOutput->Add(d.fHist);
      if (Param("draw.points").IsNull() || d.fColumns.size() != 2)
         continue;
      d.fPoints = new DtpnodeRows(TString::Format("draw.points.%zu", i), 4, Param("draw.estimate").Atoll());
      fOutput->Add(d.fPoints);
   }
}

void DtpnodeDraw::Forget(DtpnodeDrawing &d)
{
   for (TTreeFormula *f : d.fVars)
      delete f;
   d.fVars.clear();
   delete d.fSelect;
   d.fSelect = nullptr;
   d.fManager = nullptr;
}

void DtpnodeDraw::Compile(DtpnodeDrawing &d)
{
   Forget(d);
   InChain place;
   if (!fTree->InheritsFrom(TChain::Class()))
      place.first = Place("dtpnode.first");
   place.entries = Place("dtpnode.entries");
   d.fInteger.clear();
   for (const TString &column : d.fColumns) // as it is written: Entry$ is an integer
      d.fInteger.push_back(std::unique_ptr<TTreeFormula>(compiled(*fTree, "Var", column))->IsInteger());
   const PlacedAliases placed(*fTree, place);
   if (d.fSelection.Length())
      d.fSelect = compiled(*fTree, "Selection", place.In(d.fSelection));
   d.fManager = new TTreeFormulaManager;
   if (d.fSelect)
      d.fManager->Add(d.fSelect);
   for (size_t i = 0; i < d.fColumns.size(); ++i) {
      d.fVars.push_back(compiled(*fTree, TString::Format("Var%zu", i + 1), place.In(d.fColumns[i])));
      d.fManager->Add(d.fVars.back());
   }
   d.fManager->Sync();
   d.fSelectMultiple = d.fSelect && d.fSelect->GetMultiplicity();
   d.fMultiple.clear();
   for (TTreeFormula *v : d.fVars)
      d.fMultiple.push_back(v->GetMultiplicity() != 0);
   SetAxes(d);
}

// Tells axes of integers and text, of which the limits are others.
void DtpnodeDraw::SetAxes(DtpnodeDrawing &d)
{
   const size_t n = d.fColumns.size();
   size_t texts = 0;
   for (size_t i = 0; i < n; ++i) {
      const size_t axis = n - 1 - i;
      const bool mean = profiles(d) && axis == n - 1;
      if (d.fVars[i]->IsString()) {
         ++texts;
         if (mean)
            throw std::runtime_error(TString::Format("could not draw \"%s\": \"%s\" is text, which has no mean",
                                                     d.fExpression.Data(), d.fColumns[i].Data()).Data());
      } else if (d.fInteger[i] && !mean)
         dtpnodelabels::axisOf(*d.fHist, axis).SetBit(TAxis::kIsInteger);
   }
   if (d.fRows && texts > 0 && texts + (profiles(d) ? 1 : 0) == n) { // labels need no limits
      fOutput->Remove(d.fRows);
      d.fRows = nullptr;
   } else if (d.fRows && texts > 0)
      d.fRows->fMost = 0; // those of numbers are found first: each process has other bins for labels
   if (d.fExtends && d.fLimits.size() == 2 * n && !d.fFound && !d.fShared) {
      std::vector<double> low, high;
      for (size_t i = 0; i < n; ++i) {
         low.push_back(d.fLimits[2 * i]);
         high.push_back(d.fLimits[2 * i + 1]);
      }
      adopt(d, low, high);
      d.fFound = true;
   }
   if (texts > 0)
      SetTextAxes(d);
}

// Has formulas give bins to text, on axes that grow with it.
void DtpnodeDraw::SetTextAxes(DtpnodeDrawing &d)
{
   const size_t n = d.fColumns.size();
   UInt_t grows = 0;
   d.fTextAxis.assign(n, nullptr);
   d.fSeen.resize(n);
   d.fFirsts.resize(n);
   if (d.fPoints) { // have no place where each process has bins of its own
      fOutput->Remove(d.fPoints);
      d.fPoints = nullptr;
   }
   if (d.fHist->GetBuffer() && !d.fRows)
      d.fHist->SetBuffer(0);
   for (size_t i = 0; i < n; ++i) {
      if (!d.fVars[i]->IsString())
         continue;
      const size_t axis = n - 1 - i;
      TAxis &a = dtpnodelabels::axisOf(*d.fHist, axis);
      if (!a.GetLabels() && (d.fFound || a.GetXmin() >= a.GetXmax())) // one that was found is not of the labels
         a.SetLimits(0, a.GetNbins());
      grows |= axis == 0 ? TH1::kXaxis : axis == 1 ? TH1::kYaxis : TH1::kZaxis;
      d.fVars[i]->SetAxis(&a);
      d.fTextAxis[i] = &a;
      if (d.fSeen[i])
         continue;
      d.fSeen[i] = new DtpnodeLabels(TString::Format("draw.labels.%zu.%zu", static_cast<size_t>(&d - &fDrawings[0]),
                                                     axis));
      fOutput->Add(d.fSeen[i]);
   }
   d.fHist->SetCanExtend(grows);
}

void DtpnodeDraw::Init(TTree *tree)
{
   fTree = tree;
   fWeight = tree->GetWeight();
   fFirst = Place("dtpnode.first");
   for (DtpnodeDrawing &d : fDrawings)
      Compile(d);
}

// A chain with friends goes on to its next file without another Init: what the formulas read is then of the new tree.
Bool_t DtpnodeDraw::Notify()
{
   for (DtpnodeDrawing &d : fDrawings)
      if (d.fManager)
         d.fManager->UpdateFormulaLeaves();
   return kTRUE;
}

Long64_t DtpnodeDraw::EntryInChain() const
{
   return fTree->InheritsFrom(TChain::Class()) ? fTree->GetReadEntry() : fFirst + fEntry;
}

// The centre of a bin of text, for which a formula gives the bin's number less a half, and whatever the axis is like.
double DtpnodeDraw::BinOfText(DtpnodeDrawing &d, size_t column, int instance, double value)
{
   TAxis &axis = *d.fTextAxis[column];
   if (value < 0) // a label that an axis of the user's own does not have
      return axis.GetXmin() - axis.GetBinWidth(1);
   const auto bin = static_cast<size_t>(value + 0.5);
   auto &firsts = d.fFirsts[column];
   if (firsts.size() <= bin)
      firsts.resize(2 * bin + 1, {LLONG_MAX, 0});
   const std::pair<Long64_t, Int_t> here(EntryInChain(), instance);
   if (here < firsts[bin]) {
      firsts[bin] = here;
      d.fSeen[column]->See(d.fVars[column]->EvalStringInstance(d.fMultiple[column] ? instance : 0), here.first,
                           here.second);
   }
   return axis.GetBinCenter(static_cast<int>(bin));
}

// One value of a drawing.
void DtpnodeDraw::Enter(DtpnodeDrawing &d, int instance, double weight)
{
   if (d.fList || d.fCounts) {
      if (fEntry >= 0) {
         if (d.fList)
            d.fList->Enter(fEntry, fTree->GetTree()); // of a chain the number is that in its tree
         d.fSelected->SetVal(d.fSelected->GetVal() + 1);
      }
      fEntry = -1; // once an entry
      return;
   }
   d.fSelected->SetVal(d.fSelected->GetVal() + 1);
   double values[3];
   for (size_t i = 0; i < d.fVars.size(); ++i)
      values[i] = d.fVars[i]->EvalInstance(d.fMultiple[i] ? instance : 0);
   for (size_t i = 0; i < d.fTextAxis.size(); ++i)
      if (d.fTextAxis[i])
         values[i] = BinOfText(d, i, instance, values[i]);
   if (d.fPoints) {
      const double point[] = {values[0], values[1], double(EntryInChain()), double(instance)};
      d.fPoints->Add(point, weight);
   }
   if (d.fRows)
      d.fRows->Add(values, weight);
   else
      fillRow(d, values, weight);
}

// All values of an entry: of arrays one after the other, each with its own selection if that is of arrays, too.
void DtpnodeDraw::Fill(DtpnodeDrawing &d)
{
   const int multiplicity = d.fManager->GetMultiplicity();
   const int n = multiplicity == 0 ? 1 : d.fManager->GetNdata();
   if (n <= 0)
      return;
   double weight = fWeight;
   if (d.fSelect) {
      weight = fWeight * d.fSelect->EvalInstance(0);
      if (weight == 0 && !d.fSelectMultiple)
         return;
   }
   // The first instance is looked at in any case, so that branches are read.
   if (weight != 0)
      Enter(d, 0, weight);
   else
      for (TTreeFormula *v : d.fVars)
         v->ResetLoading();
   const int last = multiplicity < 0 ? 1 : n;
   bool loaded = weight != 0;
   for (int i = 1; i < last; ++i) {
      if (d.fSelectMultiple) {
         weight = fWeight * d.fSelect->EvalInstance(i);
         if (weight == 0)
            continue;
      }
      if (!loaded)
         for (TTreeFormula *v : d.fVars)
            v->EvalInstance(0);
      loaded = true;
      Enter(d, i, weight);
   }
}

Bool_t DtpnodeDraw::Process(Long64_t entry)
{
   for (DtpnodeDrawing &d : fDrawings) {
      fEntry = entry;
      Fill(d);
   }
   return kTRUE;
}

// Puts the labels of a drawing and of those that are added to it in the order in which one process meets them.
void DtpnodeDraw::FinishLabels(size_t drawing)
{
   const DtpnodeDrawing &d = fDrawings[drawing];
   for (size_t axis = 0; axis < 3; ++axis) {
      std::vector<const DtpnodeLabels *> seen;
      for (size_t k = drawing; k < fDrawings.size(); ++k) {
         if (fDrawings[k].fName != d.fName)
            continue;
         TObject *o = fOutput->FindObject(TString::Format("draw.labels.%zu.%zu", k, axis));
         seen.push_back(dynamic_cast<DtpnodeLabels *>(o));
         if (o)
            fOutput->Remove(o);
      }
      if (std::any_of(seen.begin(), seen.end(), [](const DtpnodeLabels *l) { return l != nullptr; }))
         dtpnodelabels::finish(*d.fHist, axis, Booked(d), seen);
   }
}

// Finds the limits that were not given, or says between which values another pass is to find them; then everything is
// as TTree::Draw would have left it.
void DtpnodeDraw::Terminate()
{
   const TString picture = Param("draw.picture");
   bool whole = true;
   for (size_t i = 0; i < fDrawings.size(); ++i) {
      DtpnodeDrawing &d = fDrawings[i];
      d.fHist = dynamic_cast<TH1 *>(fOutput->FindObject(d.fName));
      TObject *selected = fOutput->FindObject(TString::Format("draw.selected.%zu", i));
      if (selected && Param("draw.session").IsNull()) // a session reads it
         fOutput->Remove(selected);
      auto *rows = dynamic_cast<DtpnodeRows *>(fOutput->FindObject(TString::Format("draw.rows.%zu", i)));
      if (rows)
         fOutput->Remove(rows);
      auto *points = dynamic_cast<DtpnodeRows *>(fOutput->FindObject(TString::Format("draw.points.%zu", i)));
      if (points)
         fOutput->Remove(points);
      if (points && points->fWhole)
         fOutput->Add(graphOf(*points));
      if (rows && d.fHist && rows->fCount > 0) {
         if (!rows->fWhole) {
            TString limits;
            for (Int_t k = 0; k < rows->fColumns; ++k)
               limits += TString::Format("%.17g %.17g ", rows->fMin[k], rows->fMax[k]);
            Printf("dtpnode-draw: limits %zu %s", i, limits.Data());
            whole = false;
            continue;
         }
         d.fHist->SetCanExtend(TH1::kAllAxes);
         if (d.fHist->GetEntries() == 0) // as TTree::Draw has it: merges may have taken the buffer, or made it longer
            d.fHist->SetBuffer(TH1::GetDefaultBufferSize());
         findLimits(d, rows->fMin, rows->fMax);
         for (size_t at = 0; at + rows->fColumns < rows->fValues.size(); at += rows->fColumns + 1)
            fillRow(d, &rows->fValues[at], rows->fValues[at + rows->fColumns]);
         if (TH1 *old = Booked(d); !old || !old->CanExtendAllAxes())
            d.fHist->SetCanExtend(TH1::kNoAxis); // before what is left in the buffer is filled, as with TTree::Draw
         d.fHist->BufferEmpty(1);
      }
      bool again = false;
      for (size_t k = 0; k < i; ++k)
         again = again || fDrawings[k].fName == d.fName;
      if (!d.fHist || again)
         continue;
      FinishLabels(i);
      if (TH1 *old = Booked(d); old && d.fAdd)
         add(*d.fHist, *old);
      const double sum = d.fHist->GetSumOfWeights();
      if (has(d.fOption, "norm") && sum != 0 && Param("draw.session").IsNull()) // a session does it itself
         d.fHist->Scale(1 / sum);
      tell(*d.fHist);
   }
   if (picture.IsNull() || !whole)
      return;
   gROOT->SetBatch(true);
   TCanvas canvas("dtpnode-draw", "", 900, 600);
   std::vector<TH1 *> shown;
   for (DtpnodeDrawing &d : fDrawings)
      if (d.fHist && std::find(shown.begin(), shown.end(), d.fHist) == shown.end())
         shown.push_back(d.fHist);
   if (shown.size() > 1)
      canvas.DivideSquare(static_cast<Int_t>(shown.size()));
   TString how = Param("draw.option");
   how.ToLower();
   for (const char *word : {"goff", "profs", "profi", "profg", "prof", "norm", "entrylist"})
      how.ReplaceAll(word, "");
   for (size_t i = 0; i < shown.size(); ++i) {
      canvas.cd(shown.size() > 1 ? static_cast<Int_t>(i) + 1 : 0);
      TString option = how;
      if (option.Strip(TString::kBoth).IsNull() && shown[i]->GetDimension() == 2 &&
          !shown[i]->InheritsFrom(TProfile2D::Class()))
         option = "colz";
      shown[i]->Draw(option);
   }
   canvas.SaveAs(picture);
}
