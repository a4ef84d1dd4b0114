// A file of a generation that becomes a part of the job's output: merged with those of all others into one, or kept as
// a part of a data set. A selector makes one in SlaveBegin, opens its file, adds the object to fOutput, and finds it
// there in Terminate, where it names the file that the user has now.
#ifndef ROOT_TProofOutputFile
#define ROOT_TProofOutputFile

#include "ProofIncludes.h"
#include "TNamed.h"
#include "TString.h"

class TCollection;
class TFile;
class TFileCollection;
class TFileMerger;
class TList;

class TProofOutputFile : public TNamed {
 public:
  /// What becomes of the files: one file, or a data set of several.
  enum ERunType { kMerge = 1, kDataset = 2 };
  /// kRemote and kLocal said from where PROOF merged; here files are merged where they lie, with either. The others are
  /// for data sets: kRegister and kVerify have it known by its name, kOverwrite in place of another of that name.
  enum ETypeOpt { kRemote = 1, kLocal = 2, kCreate = 4, kRegister = 8, kOverwrite = 16, kVerify = 32 };
  enum EStatusBits { kOutputFileNameSet = BIT(16), kRetrieve = BIT(17), kSwapFile = BIT(18) };

  TProofOutputFile();
  /// path names the file in the working folder, with folders that are made. Of the option the letters count: M merges,
  /// L too, D makes a data set, with R, O and V as in ETypeOpt. dsname is the data set's name, by default the file's.
  TProofOutputFile(const char *path, const char *option = "M", const char *dsname = nullptr);
  TProofOutputFile(const char *path, ERunType type, UInt_t opt = kRemote, const char *dsname = nullptr);
  ~TProofOutputFile() override;
  TProofOutputFile(const TProofOutputFile &) = delete;
  TProofOutputFile &operator=(const TProofOutputFile &) = delete;

  const char *GetDir(Bool_t raw = kFALSE) const { return raw ? fRawDir : fDir; }
  /// The list of files in data set mode, which code may give a default tree.
  TFileCollection *GetFileCollection();
  TFileMerger *GetFileMerger(Bool_t local = kFALSE);
  const char *GetFileName() const { return fFileName; }
  const char *GetLocalHost() const { return fLocalHost; }
  const char *GetOptionsAnchor() const { return fOptionsAnchor; }
  /// The path or the URL of the merged file: in Terminate the one that it has.
  const char *GetOutputFileName() const { return fOutputFileName; }
  const char *GetWorkerOrdinal() const { return fWorkerOrdinal; }
  ERunType GetRunType() const { return static_cast<ERunType>(fRunType); }
  UInt_t GetTypeOpt() const { return fTypeOpt; }
  Bool_t IsMerge() const { return fRunType == kMerge; }
  Bool_t IsMerged() const { return fMerged; }
  Bool_t IsRegister() const { return (fTypeOpt & (kRegister | kVerify)) != 0; }
  Bool_t IsRetrieve() const { return TestBit(kRetrieve); }
  /// Outputs always come to the user, so that this changes nothing.
  void SetRetrieve(Bool_t on = kTRUE) { SetBit(kRetrieve, on); }

  /// Takes a file that is open for one of this output. 0, or -1 for what is no open file.
  Int_t AdoptFile(TFile *file);
  /// Opens the file with an option of TFile::Open. The caller writes and closes it; one that stays open is written and
  /// closed after SlaveTerminate.
  TFile *OpenFile(const char *option);
  /// Keeps this object; the files are merged as files. Returns how many were merged.
  Long64_t Merge(TCollection *list);
  void Print(Option_t *option = "") const override;
  /// Names the merged file: a path in the folder from which the job was submitted, an absolute one, or a URL to which
  /// it is copied then. <user>, <u>, <group>, <host>, <file>, <rver> and others stand for what PROOF had them stand for.
  void SetOutputFileName(const char *name);
  void ResetFileCollection() { fDataSet = nullptr; }
  /// Makes a folder with those above it. 0, or -1.
  static Int_t AssertDir(const char *path);

  /// For dtpnode, which calls these between user code.
  TString Path() const { return fRecord.IsNull() ? fRawDir + "/" + fFileName : fRecord; }
  TString Wanted() const { return Resolved(fWanted); }
  void Place(const char *path, const char *name);
  TFileCollection *TakeFileCollection();

 private:
  void Init(const char *path, const char *dsname);
  TString Resolved(const TString &name) const;
  static TString WorkerWords(const TString &name);

  TString fDir;            // of the file, as others address it
  TString fRawDir;         // of the file
  TString fFileName;       // without folders
  TString fOptionsAnchor;  // "?options#anchor" of the path
  TString fOutputFileName; // of the merged file
  TString fWorkerOrdinal;  // of the process
  TString fLocalHost;      // on which the file was made
  TString fRelative;       // path of the file in the working folder
  TString fRecord;         // that path, once the generation is over
  TString fWanted;         // fOutputFileName before its words are replaced, for which the submitting side is asked
  Bool_t fMerged = kFALSE;
  Int_t fRunType = kMerge;      // an ERunType
  UInt_t fTypeOpt = kRemote;    // ETypeOpt
  TFileCollection *fDataSet = nullptr;
  TFileMerger *fMerger = nullptr; //! for code that asks for one

  ClassDefOverride(TProofOutputFile, 6) // A file of each process that becomes a part of the output
};

#endif
