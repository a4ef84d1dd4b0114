// The session: what TProof::Open gives. Its calls are those of PROOF, and work on the pool of nodes that the one of this
// host belongs to, or on this host alone if no node runs.
#ifndef ROOT_TProof
#define ROOT_TProof

#include "ProofIncludes.h"
#include "MessageTypes.h"
#include <TChain.h>
#include "TMD5.h"
#include "TMacro.h"
#include "TNamed.h"
#include "TProofChainCall.h"
#include "TProofDebug.h"
#include "TProofMgr.h"
#include "TProofOutputList.h"
#include "TQObject.h"
#include "TRegexp.h"
#include "TStopwatch.h"
#include "TString.h"
#include "TSysEvtHandler.h"
#include "TSystem.h"
#include "TThread.h"
#include "TUrl.h"

#include <map>

class TDSet;
class TDrawFeedback;
class TFileCollection;
class TMap;
class TQueryResult;
class TSelector;
class TTree;
class TVirtualMutex;

namespace dtpnode {
class Code;
class Query;
class Session;
} // namespace dtpnode

const Int_t kPROOF_Protocol = 36;
const Int_t kPROOF_Port = 1093;
const char *const kPROOF_ConfFile = "proof.conf";
const char *const kPROOF_ConfDir = "/usr/local/root";
const char *const kPROOF_WorkDir = ".proof";
const char *const kPROOF_InputDataFile = "inputdata.root";
const char *const kPROOF_MissingFiles = "MissingFiles";

R__EXTERN TVirtualMutex *gProofMutex;

/// Is told of the progress of a query: entries in all, entries processed, seconds, bytes read.
typedef void (*PrintProgress_t)(Long64_t total, Long64_t processed, Float_t seconds, Long64_t bytes);

/// What a node of the pool is for a session.
class TSlaveInfo : public TObject {
 public:
  enum ESlaveStatus { kActive, kNotActive, kBad };

  TString fOrdinal, fHostName, fMsd, fDataDir;
  Int_t fPerfIndex;
  SysInfo_t fSysInfo;
  ESlaveStatus fStatus = kNotActive;

  TSlaveInfo(const char *ordinal = "", const char *host = "", Int_t perfidx = 0, const char *msd = "",
             const char *datadir = "")
      : fOrdinal(ordinal), fHostName(host), fMsd(msd), fDataDir(datadir), fPerfIndex(perfidx) {}

  const char *GetDataDir() const { return fDataDir; }
  const char *GetMsd() const { return fMsd; }
  const char *GetName() const override { return fHostName; }
  const char *GetOrdinal() const { return fOrdinal; }
  SysInfo_t GetSysInfo() const { return fSysInfo; }
  void SetStatus(ESlaveStatus status) { fStatus = status; }
  void SetSysInfo(SysInfo_t info) { fSysInfo = info; }
  void SetOrdinal(const char *ordinal) { fOrdinal = ordinal; }
  Int_t Compare(const TObject *obj) const override;
  Bool_t IsSortable() const override { return kTRUE; }
  Bool_t IsEqual(const TObject *obj) const override;
  void Print(Option_t *option = "") const override;

  ClassDefOverride(TSlaveInfo, 4) // A slot of a node
};

class TProof : public TNamed, public TQObject {
 public:
  enum EStatusBits {
    kUsingSessionGui = BIT(14),
    kNewInputData = BIT(15),
    kIsClient = BIT(16),
    kIsMaster = BIT(17),
    kIsTopMaster = BIT(18),
    kUseProgressDialog = BIT(19)
  };
  enum EQueryMode { kSync = 0, kAsync = 1 };
  enum EUploadOpt {
    kAppend = 1,
    kOverwriteDataSet = 2,
    kNoOverwriteDataSet = 4,
    kOverwriteAllFiles = 8,
    kOverwriteNoFiles = 16,
    kAskUser = 0
  };
  enum ERegisterOpt { kFailIfExists = 0, kOverwriteIfExists = 1, kMergeIfExists = 2 };
  enum EUploadPackageOpt { kUntar = 0, kRemoveOld = 1 };
  enum ERunStatus { kRunning = 0, kStopped = 1, kAborted = 2 };
  enum EProofClearData { kPurge = 1, kUnregistered = 2, kDataset = 4, kForceClear = 8 };
  enum ESlaves { kAll, kActive, kUnique, kAllUnique };

  /// Opens a session, or returns the one that is open. url is "" or "lite://" for this host and its pool; "workers=4"
  /// limits a node that the session has to start itself; what else it names, a master or "pod://", is the pool that
  /// this host is a member of. Null after an error, which is printed.
  static TProof *Open(const char *url = nullptr, const char *conffile = nullptr, const char *confdir = nullptr,
                      Int_t loglevel = 0);
  static TProofMgr *Mgr(const char *url);
  static void Reset(const char *, Bool_t = kFALSE) {}
  static void LogViewer(const char *url = nullptr, Int_t session = 0);
  /// Whether a session is open; what asks for one in vain is told how to open it.
  static Bool_t Default(const char *where);

  TProof(const char *url, const char *conffile = kPROOF_ConfFile, const char *confdir = kPROOF_ConfDir,
         Int_t loglevel = 0, const char *alias = nullptr, TProofMgr *mgr = nullptr);
  TProof(const TProof &) = delete;
  TProof &operator=(const TProof &) = delete;
  ~TProof() override;

  void cd(Int_t id = -1);
  Int_t Ping() { return GetParallel(); }
  void Touch() {}

  //-- queries
  virtual Long64_t Process(TDSet *dset, const char *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0);
  virtual Long64_t Process(TFileCollection *fc, const char *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0);
  virtual Long64_t Process(const char *dsetname, const char *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0, TObject *enl = nullptr);
  /// Runs a selector over cycles, without a tree.
  virtual Long64_t Process(const char *selector, Long64_t nentries, Option_t *option = "");
  virtual Long64_t Process(TDSet *dset, TSelector *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0);
  virtual Long64_t Process(TFileCollection *fc, TSelector *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0);
  virtual Long64_t Process(const char *dsetname, TSelector *selector, Option_t *option = "", Long64_t nentries = -1,
                           Long64_t firstentry = 0, TObject *enl = nullptr);
  virtual Long64_t Process(TSelector *selector, Long64_t nentries, Option_t *option = "");
  virtual Long64_t DrawSelect(TDSet *dset, const char *varexp, const char *selection = "", Option_t *option = "",
                              Long64_t nentries = -1, Long64_t firstentry = 0);
  Long64_t DrawSelect(const char *dsetname, const char *varexp, const char *selection = "", Option_t *option = "",
                      Long64_t nentries = -1, Long64_t firstentry = 0, TObject *enl = nullptr);
  /// Why the last query, drawing or counting gave -1; empty if it did not. A second line says what to do.
  const char *GetLastError() const { return fLastError; }
  /// Has errors of queries be kept for GetLastError() alone, for a caller that makes exceptions of them, and forgets the
  /// last one.
  void KeepErrors(Bool_t on = kTRUE) {
    fKeepErrors = on;
    fLastError = "";
  }
  /// The selector of the last query in this process, whose Terminate() has run; null if there is none.
  TSelector *GetSelector() const { return fSelector; }
  /// What chains do under SetProof.
  Long64_t ProcessChain(TTree *chain, const char *selector, TSelector *object, Option_t *option, Long64_t nentries,
                        Long64_t firstentry);
  Long64_t DrawChain(TTree *chain, const char *varexp, const char *selection, Option_t *option, Long64_t nentries,
                     Long64_t firstentry);
  /// The number of entries that a selection leaves of a chain; -1 if they could not be counted.
  Long64_t CountChain(TTree *chain, const char *selection);
  void AddChain(TChain *) {}
  void RemoveChain(TChain *) {}

  Long64_t Finalize(Int_t query = -1, Bool_t force = kFALSE);
  Long64_t Finalize(const char *ref, Bool_t force = kFALSE);
  Int_t Retrieve(Int_t query, const char *path = nullptr);
  Int_t Retrieve(const char *ref, const char *path = nullptr);
  Int_t Archive(Int_t query, const char *url);
  Int_t Archive(const char *ref, const char *url = nullptr);
  Int_t Remove(Int_t query, Bool_t all = kFALSE);
  Int_t Remove(const char *ref, Bool_t all = kFALSE);
  Int_t CleanupSession(const char *) { return 0; }
  void StopProcess(Bool_t abort, Int_t timeout = -1);
  void GoAsynchronous() {}
  virtual TList *GetListOfQueries(Option_t *opt = "");
  Int_t GetNumberOfQueries();
  Int_t GetNumberOfDrawQueries() { return fDraws; }
  TList *GetQueryResults() { return fQueries; }
  /// The query of that name, the last one by default.
  TQueryResult *GetQueryResult(const char *ref = nullptr);
  void GetMaxQueries();
  void SetMaxDrawQueries(Int_t) {}
  void ShowQueries(Option_t *opt = "");
  EQueryMode GetQueryMode(Option_t *mode = nullptr) const;
  void SetQueryMode(EQueryMode mode) { fMode = mode; }

  //-- input and output
  void SetParameter(const char *par, const char *value);
  void SetParameter(const char *par, Int_t value);
  void SetParameter(const char *par, Long_t value);
  void SetParameter(const char *par, Long64_t value);
  void SetParameter(const char *par, Double_t value);
  TObject *GetParameter(const char *par) const;
  void DeleteParameters(const char *wildcard);
  void ShowParameters(const char *wildcard = "PROOF_*") const;
  static Int_t GetParameter(TCollection *c, const char *par, TString &value);
  static Int_t GetParameter(TCollection *c, const char *par, Int_t &value);
  static Int_t GetParameter(TCollection *c, const char *par, Long_t &value);
  static Int_t GetParameter(TCollection *c, const char *par, Long64_t &value);
  static Int_t GetParameter(TCollection *c, const char *par, Double_t &value);
  void AddInput(TObject *obj);
  void ClearInput();
  TList *GetInputList() { return fInput; }
  /// Objects that go to all processes beside the input list; here they travel once a node, with it.
  void AddInputData(TObject *obj, Bool_t push = kFALSE);
  void SetInputDataFile(const char *file);
  void ClearInputData(TObject *obj = nullptr);
  void ClearInputData(const char *name);
  TObject *GetOutput(const char *name);
  static TObject *GetOutput(const char *name, TList *out);
  /// In Terminate that of the selector, then that of the last query; null as long as there is none.
  TList *GetOutputList() { return fCurrent ? fCurrent : fHasOutput ? fOutput : nullptr; }
  /// Has GetOutputList() be what a selector has left that did not run by Process(), as one in Python; null for none.
  void KeepOutput(TList *output);
  TList *GetOutputNames();
  TFileCollection *GetMissingFiles(TQueryResult *qr = nullptr);
  void ShowMissingFiles(TQueryResult *qr = nullptr);

  //-- feedback
  void AddFeedback(const char *name);
  void RemoveFeedback(const char *name);
  void ClearFeedback();
  void ShowFeedback() const;
  TList *GetFeedbackList() const { return fFeedback; }
  TDrawFeedback *CreateDrawFeedback();
  void SetDrawFeedbackOption(TDrawFeedback *f, Option_t *opt);
  void DeleteDrawFeedback(TDrawFeedback *f);

  //-- code
  Int_t UploadPackage(const char *par, EUploadPackageOpt opt = kUntar, TList *workers = nullptr);
  Int_t EnablePackage(const char *package, Bool_t notOnClient = kFALSE, TList *workers = nullptr);
  Int_t EnablePackage(const char *package, const char *loadopts, Bool_t notOnClient = kFALSE,
                      TList *workers = nullptr);
  Int_t EnablePackage(const char *package, TList *loadopts, Bool_t notOnClient = kFALSE, TList *workers = nullptr);
  Int_t DisablePackage(const char *package) { return ClearPackage(package); }
  Int_t ClearPackage(const char *package);
  Int_t ClearPackages();
  Int_t DownloadPackage(const char *package, const char *dir = nullptr);
  TList *GetListOfPackages();
  TList *GetListOfEnabledPackages();
  void ShowPackages(Bool_t all = kFALSE, Bool_t redirlog = kFALSE);
  void ShowEnabledPackages(Bool_t all = kFALSE);
  /// Loads macros, separated by commas, here, and ships them with the queries that follow; headers named in the list go
  /// along.
  virtual Int_t Load(const char *macro, Bool_t notOnClient = kFALSE, Bool_t uniqueOnly = kTRUE,
                     TList *wrks = nullptr);
  TList *GetLoadedMacros() const { return fMacros; }
  Int_t AddIncludePath(const char *path, Bool_t onClient = kFALSE, TList *wrks = nullptr, Bool_t doCollect = kTRUE);
  Int_t AddDynamicPath(const char *path, Bool_t onClient = kFALSE, TList *wrks = nullptr, Bool_t doCollect = kTRUE);
  Int_t RemoveIncludePath(const char *path, Bool_t onClient = kFALSE);
  Int_t RemoveDynamicPath(const char *path, Bool_t onClient = kFALSE);
  /// Runs a line of C++ in this process and in each process of the queries that follow, before their SlaveBegin.
  Int_t Exec(const char *cmd, Bool_t plusMaster = kFALSE);
  Int_t Exec(const char *cmd, ESlaves list, Bool_t plusMaster);
  Int_t Exec(const char *cmd, const char *ord, Bool_t logtomacro = kFALSE);
  virtual Int_t Echo(const TObject *obj);
  virtual Int_t Echo(const char *text);
  TString Getenv(const char *env, const char *ord = "0");
  Int_t GetRC(const char *name, Int_t &value, const char *ord = "0");
  Int_t GetRC(const char *name, Double_t &value, const char *ord = "0");
  Int_t GetRC(const char *name, TString &value, const char *ord = "0");
  static void AddEnvVar(const char *name, const char *value);
  static void DelEnvVar(const char *name);
  static const TList *GetEnvVars();
  static void ResetEnvVars();
  virtual void ShowCache(Bool_t all = kFALSE);
  virtual void ClearCache(const char *file = nullptr);

  //-- datasets
  virtual Bool_t RegisterDataSet(const char *name, TFileCollection *dataset, const char *opt = "");
  virtual Bool_t ExistsDataSet(const char *name);
  virtual TMap *GetDataSets(const char *uri = "", const char *opt = "");
  virtual void ShowDataSets(const char *uri = "", const char *opt = "");
  virtual TFileCollection *GetDataSet(const char *name, const char *opt = "");
  void ShowDataSet(const char *name = "", const char *opt = "filter:SsCc");
  virtual Int_t RemoveDataSet(const char *name, const char *opt = "");
  virtual Int_t VerifyDataSet(const char *name, const char *opt = "");
  virtual Int_t SetDataSetTreeName(const char *name, const char *tree);
  TList *FindDataSets(const char *search, const char *opt = "");
  TMap *GetDataSetQuota(const char *opt = "");
  void ShowDataSetQuota(Option_t *opt = nullptr);
  virtual Bool_t RequestStagingDataSet(const char *name);
  virtual Bool_t CancelStagingDataSet(const char *name);
  virtual TFileCollection *GetStagingStatusDataSet(const char *name);
  virtual void ShowStagingStatusDataSet(const char *name, const char *opt = "filter:SsCc");
  virtual void ShowDataSetCache(const char *name = nullptr);
  virtual void ClearDataSetCache(const char *name = nullptr);
  virtual void ShowData();
  void ClearData(UInt_t what = kUnregistered, const char *name = nullptr);
  virtual TTree *GetTreeHeader(TDSet *set);

  //-- the session itself
  const char *GetMaster() const { return fUrl.GetHost(); }
  const char *GetConfDir() const { return ""; }
  const char *GetConfFile() const { return ""; }
  const char *GetUser() const { return fUser; }
  const char *GetGroup() const { return "default"; }
  const char *GetWorkDir() const { return fWorkDir; }
  const char *GetSessionTag() const { return GetName(); }
  const char *GetImage() const { return ""; }
  const char *GetUrl() { return fUrl.GetUrl(); }
  const char *GetDataPoolUrl() const { return ""; }
  void SetDataPoolUrl(const char *) {}
  Int_t GetPort() const { return fUrl.GetPort(); }
  Int_t GetRemoteProtocol() const { return kPROOF_Protocol; }
  Int_t GetClientProtocol() const { return kPROOF_Protocol; }
  Int_t GetStatus() const { return fStatus; }
  Int_t GetLogLevel() const { return gProofDebugLevel; }
  /// The processes that run side by side at most, of all nodes.
  Int_t GetParallel() const;
  Int_t SetParallel(Int_t nodes = -1, Bool_t random = kFALSE);
  Int_t GetSeqNum() const { return fSeqNum; }
  Int_t GetSessionID() const { return 0; }
  TList *GetListOfSlaveInfos();
  Bool_t UseDynamicStartup() const { return kFALSE; }
  void GetStatistics(Bool_t verbose = kFALSE);
  Long64_t GetBytesRead() const { return fBytes; }
  Float_t GetRealTime() const { return fReal; }
  Float_t GetCpuTime() const { return fCpu; }
  Bool_t IsLite() const { return fLite; }
  Bool_t IsProofd() const { return kFALSE; }
  Bool_t IsFolder() const override { return kTRUE; }
  Bool_t IsMaster() const { return kFALSE; }
  Bool_t IsValid() const { return fValid; }
  Bool_t IsTty() const;
  Bool_t IsParallel() const { return GetParallel() > 0; }
  Bool_t IsIdle() const { return kTRUE; }
  Bool_t IsWaiting() const { return kFALSE; }
  ERunStatus GetRunStatus() const { return fRun; }
  Bool_t IsDataReady(Long64_t &total, Long64_t &ready);
  void SetActive(Bool_t = kTRUE) {}
  Int_t ActivateWorker(const char *ord, Bool_t save = kTRUE);
  Int_t DeactivateWorker(const char *ord, Bool_t save = kTRUE);
  void SetLogLevel(Int_t level, UInt_t mask = TProofDebug::kAll);
  void SetRealTimeLog(Bool_t = kTRUE) {}
  void GetLog(Int_t start = -1, Int_t end = -1);
  TMacro *GetLastLog();
  void ShowLog(Int_t query = -1);
  void ShowLog(const char *ref);
  void PutLog(TQueryResult *) {}
  Bool_t SendingLogToWindow() const { return kFALSE; }
  void SendLogToWindow(Bool_t) {}
  void SetPrintProgress(PrintProgress_t f) { fPrintProgress = f; }
  /// Without, nothing is shown of the progress of queries.
  void SetProgressDialog(Bool_t on = kTRUE) { SetBit(kUseProgressDialog, on); }
  void ResetProgressDialogStatus() {}
  Int_t SavePerfTree(const char *file = nullptr, const char *ref = nullptr);
  void SetPerfTree(const char *file = "perftree.root", Bool_t withWrks = kFALSE);
  TProofMgr *GetManager();
  void SetManager(TProofMgr *) {}
  virtual void SetAlias(const char *alias = "") { SetTitle(alias); }
  void Browse(TBrowser *b) override;
  void Print(Option_t *option = "") const override;
  void Close(Option_t *option = "");
  void Detach(Option_t *option = "") { Close(option); }

  //-- signals
  void LogMessage(const char *msg, Bool_t all);                               //*SIGNAL*
  void Progress(Long64_t total, Long64_t processed);                          //*SIGNAL*
  void Feedback(TList *objs);                                                 //*SIGNAL*
  void QueryResultReady(const char *ref);                                     //*SIGNAL*
  void CloseProgressDialog();                                                 //*SIGNAL*
  void StartupMessage(const char *msg, Bool_t status, Int_t done, Int_t all); //*SIGNAL*

  /// Called by the node, not by selectors: what gProof is in Begin and Terminate of a job without a session.
  static TProof *OfJob(TList *input) { return new TProof(*input); }
  void SetJobOutput(TList *output) { fCurrent = output; }

 private:
  explicit TProof(TList &input);
  Long64_t Failed(const char *where, const std::string &why, const std::string &hint = "");
  Bool_t TooLate(const char *where, const char *flag) const;
  Long64_t Run(dtpnode::Query &query);
  Long64_t Draw(dtpnode::Query &query, const char *varexp, const char *selection, Option_t *option);
  using TNamed::Draw;
  Bool_t DrawOnPool(dtpnode::Query &query, const std::vector<std::string> &flags, const char *varexp,
                    const char *selection, Option_t *option, std::string &out);
  void Parameter(TObject *par);
  TString Reference(Int_t query);
  void TellUnknownBranches(const std::string &job);
  void RegisterOutput(const char *name, TQueryResult &result);

  TUrl fUrl;
  TString fUser, fWorkDir;
  Bool_t fLite = kTRUE, fValid = kFALSE, fHasOutput = kFALSE, fToldOfPoints = kFALSE;
  Int_t fStatus = 0, fSeqNum = 0, fDraws = 0;
  EQueryMode fMode = kSync;
  ERunStatus fRun = kRunning;
  Long64_t fBytes = 0;
  Float_t fReal = 0, fCpu = 0;
  PrintProgress_t fPrintProgress = nullptr;
  TList *fInput, *fInputData, *fFeedback, *fQueries, *fMacros, *fSlaves; //!
  TProofOutputList *fOutput;                                             //!
  TList *fCurrent = nullptr; //! output list of the selector whose Terminate runs
  Bool_t fOfJob = kFALSE;    // it stands for one job, in Begin and Terminate of which it is
  TString fInputDataFile;
  TString fLastError;          //!
  Bool_t fKeepErrors = kFALSE; //!
  TSelector *fSelector = nullptr; //! of the last query
  TMacro fLastLog;
  dtpnode::Session *fSession; //!
  dtpnode::Code *fCode;       //!

  ClassDefOverride(TProof, 0) // A session on the pool
};

R__EXTERN TProof *gProof;

#endif
