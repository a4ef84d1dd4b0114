// The selector behind `dtpnode draw`: what TTree::Draw does, in parts that merge.
#pragma once

#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TSelector.h>
#include <TString.h>
#include <TTree.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

class TAxis;
class TCollection;
class TEntryList;
class TTreeFormula;
class TTreeFormulaManager;
template <class T> class TParameter;

// The values that a drawing without limits has come to, as TTree::Draw keeps them until it knows its limits: so many
// rows of values and a weight, or, beyond that, only the least and the largest values.
class DtpnodeRows : public TNamed {
public:
   Int_t fColumns = 0;            // values in a row, without the weight
   Long64_t fMost = 0;            // so many rows are kept
   Long64_t fCount = 0;           // rows that there were
   Bool_t fWhole = kTRUE;         // fValues has all of them
   std::vector<double> fValues;   // row after row: values, weight
   std::vector<double> fMin, fMax; // of each column

   DtpnodeRows() = default;
   DtpnodeRows(const char *name, Int_t columns, Long64_t most);
   void Add(const double *values, double weight);
   Long64_t Merge(TCollection *others);

private:
   void Widen(const std::vector<double> &values);
   void DropIfTooMany();

   ClassDef(DtpnodeRows, 1)
};

// Where each text of a column came first: its entry over all files, and its element in the entry.
class DtpnodeLabels : public TNamed {
public:
   std::vector<std::string> fLabels;
   std::vector<Long64_t> fEntries;
   std::vector<Int_t> fElements;
   std::map<std::string, size_t> fPlaces; //! of labels; found again after an object was read

   DtpnodeLabels() = default;
   explicit DtpnodeLabels(const char *name) : TNamed(name, "") {}
   void See(const std::string &label, Long64_t entry, Int_t element);
   Long64_t Merge(TCollection *others);

   ClassDef(DtpnodeLabels, 1)
};

// One drawing: what is filled, and with what.
struct DtpnodeDrawing {
   // As the user wrote them, and taken apart.
   TString fExpression, fSelection, fOption, fName, fTitle;
   bool fKeep = false;            // the user has named it
   bool fAdd = false;             // >>+
   std::vector<double> fBinning;  // nx, x low, x high, ny, ...; what was given of it
   std::vector<TString> fColumns; // z:y:x
   std::vector<double> fLimits;   // least and largest value of each column, of an earlier pass; none at first

   TH1 *fHist = nullptr;
   TEntryList *fList = nullptr;
   DtpnodeRows *fRows = nullptr;
   DtpnodeRows *fPoints = nullptr; // of a scatter plot: y, x, number of the entry over all files, number in the entry
   bool fExtends = false; // TTree::Draw would look for the limits
   bool fShared = false;  // an earlier drawing has made the histogram
   bool fFound = false;   // the limits were found from fLimits
   bool fCounts = false;  // entries are counted, and nothing is made of them
   TParameter<Long64_t> *fSelected = nullptr; // rows that the selection left

   // Of the tree that is read now.
   TTreeFormulaManager *fManager = nullptr; // owned by the formulas
   TTreeFormula *fSelect = nullptr;
   std::vector<TTreeFormula *> fVars;
   bool fSelectMultiple = false;
   std::vector<bool> fMultiple, fInteger;

   // Of columns of text: the axis that has their labels, where these came first, and that of each bin.
   std::vector<TAxis *> fTextAxis; // null of numbers
   std::vector<DtpnodeLabels *> fSeen;
   std::vector<std::vector<std::pair<Long64_t, Int_t>>> fFirsts;
};

class DtpnodeDraw : public TSelector {
public:
   std::vector<DtpnodeDrawing> fDrawings; //!
   TTree *fTree = nullptr;                //!
   Long64_t fEntry = -1;                  //!
   double fWeight = 1;                    //!
   Long64_t fFirst = 0;                   //! number of the tree's first entry over all files

   Int_t Version() const override { return 2; }
   void Begin(TTree *) override;
   void SlaveBegin(TTree *) override;
   void Init(TTree *tree) override;
   Bool_t Notify() override;
   Bool_t Process(Long64_t entry) override;
   void Terminate() override;

private:
   void Read();
   TString Param(const char *name) const;
   Long64_t Place(const char *name) const;
   void Compile(DtpnodeDrawing &d);
   void Forget(DtpnodeDrawing &d);
   int Bins(const std::vector<double> &given, size_t i, const char *name, int otherwise) const;
   TH1 *Booked(const DtpnodeDrawing &d) const;
   void Make(DtpnodeDrawing &d);
   void SetAxes(DtpnodeDrawing &d);
   void SetTextAxes(DtpnodeDrawing &d);
   Long64_t EntryInChain() const;
   double BinOfText(DtpnodeDrawing &d, size_t column, int instance, double value);
   void FinishLabels(size_t drawing);
   void Enter(DtpnodeDrawing &d, int instance, double weight);
   void Fill(DtpnodeDrawing &d);

   ClassDefOverride(DtpnodeDraw, 0)
};
