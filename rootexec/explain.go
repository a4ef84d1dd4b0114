package rootexec

import (
	"path"
	"regexp"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// missingHeader matches what clang and g++ say of a header that they do not find, with the place of the #include.
var missingHeader = regexp.MustCompile(
	`(?m)^(?:\./)?([^:\n ]+):(\d+):\d+: fatal error: (?:'([^'\n]+)' file not found|([^:\n]+): No such file or directory)`)

// undeclared matches what clang says of a name that it does not know.
var undeclared = regexp.MustCompile(`error: (?:use of undeclared identifier|unknown type name|no member named) '(\w+)'`)

// explainCompile says in a failure to compile what the user can do about it, from what the compiler printed.
func explainCompile(f *exec.Failure, output string) *exec.Failure {
	if m := missingHeader.FindStringSubmatch(output); m != nil {
		header := m[3] + m[4]
		f.Msg = path.Base(m[1]) + ", line " + m[2] + ", includes " + header + ", which "
		switch advice := proofCounterpart(header); {
		case advice != "":
			f.Msg += "PROOF had and nothing here has: " + advice
			f.Tail = ""
		case strings.HasPrefix(path.Base(header), "TProof"):
			f.Msg += "was PROOF's: see docs/proof.md for what stands for it"
		default:
			f.Msg += lackingHeader
			if rootHeader.MatchString(header) {
				f.Msg += "; if it is one of ROOT's, this ROOT was built without it: dtpnode up --root names another"
			}
		}
		return f
	}
	if m := undeclared.FindStringSubmatch(output); m != nil {
		if advice := proofCounterpart(m[1] + ".h"); advice != "" {
			f.Msg += ": " + m[1] + " was PROOF's: " + advice
		}
	}
	return f
}

// lackingHeader ends what is said of a header that is nowhere.
const lackingHeader = "is not found: --include names headers that are to go along, -I folders to look for them in"

// lacksHeader reports whether a failure to compile is for want of a header.
func lacksHeader(f *exec.Failure) bool {
	return missingHeader.MatchString(f.Tail) || strings.Contains(f.Msg, lackingHeader)
}

// rootHeader matches names that headers of ROOT have.
var rootHeader = regexp.MustCompile(`^(?:T[A-Z]\w*\.h|Roo\w+(?:/\w+)*\.h|(?:ROOT|Math|TMVA|RooStats|Fit)/.+)$`)

// payload matches what ROOT's interpreter says of a dictionary that it could not read, because of what was wrong
// before: all headers that the dictionary is of follow, and no reason.
var payload = regexp.MustCompile(`(?s)(?:: )?\S*(?:: )?Error parsing payload code.*`)

// withoutPayload cuts that from a message, of which one line is left.
func withoutPayload(msg string) string {
	line, _, _ := strings.Cut(payload.ReplaceAllString(msg, ""), "\n")
	return strings.TrimSpace(line)
}

// noise is what ROOT's tools print after a compiler's errors, and that says nothing to the user: command lines, that
// they failed, and stack traces of the dictionary generator.
var noise = regexp.MustCompile(`(?m)^(?:Error(?: in <ACLiC>)?: (?:Executing '|\S*rootcling: )|` +
	`Error in <ACLiC>|Error in <TUnixSystem::CompileMacro>|cling::DynamicLibraryManager::loadLibrary|` +
	`There was a crash\.|Stack dump:|PLEASE submit a bug report| \*\*\* Break \*\*\*|Generating stack trace|` +
	` *#\d+ +0x[0-9a-f]+|Thread \d+ \(| *=====+$)`)

// withoutNoise cuts a compiler's output where only noise follows.
func withoutNoise(s string) string {
	if at := noise.FindStringIndex(s); at != nil {
		s = s[:at[0]]
	}
	return strings.TrimSpace(s)
}

// cachePath matches the folder of the cache in which a source is compiled; the user knows it by its own name.
var cachePath = regexp.MustCompile(`(?:/[^\s/:'"]+)+/(?:lib|foreign/[0-9a-f]{32})/[0-9a-f]{32}/(?:\./)?`)

// needsHeader matches what ROOT prints if a dictionary refers to a header that it does not find.
var needsHeader = regexp.MustCompile(`Missing FileEntry for (\S+)`)

// explainLoad says in a failure to load what the user can do about it.
func explainLoad(f *exec.Failure) *exec.Failure {
	if m := needsHeader.FindStringSubmatch(f.Tail); m != nil {
		f.Msg += "; its dictionary refers to the header " + m[1] + ", which is not found: name its folder with -I"
	}
	f.Tail = strings.TrimSpace(loadNoise.ReplaceAllString(f.Tail, ""))
	return f
}

// loadNoise matches what ROOT prints when a library cannot be loaded, of which the message says all.
var loadNoise = regexp.MustCompile(`(?m)^(?:cling::DynamicLibraryManager::loadLibrary|` +
	`Error in cling::AutoLoadingVisitor| +Missing FileEntry for| +requested to autoload).*\n?`)

// proofCounterpart says what stands for a header of PROOF that is absent on purpose. The others are in rootexec/proof.
func proofCounterpart(header string) string { return proofHeaders[path.Base(header)] }

const (
	noPacketizers = "work is dealt out and stolen by dtpnode itself; drop the include and what steers packetizers"
	noWindows     = "dtpnode run shows the progress, dtpnode status the nodes; drop the include"
	noCluster     = "dtpnode up, invite and join make a cluster; drop the include"
	noBench       = "dtpnode bench measures; drop the include"
)

var proofHeaders = map[string]string{
	"TAdaptivePacketizer.h": noPacketizers,
	"TCondor.h":             noCluster,
	"TDSetProxy.h": "dtpnode run --files names files, --dataset a dataset; use TDSet.h or a " +
		"TFileCollection",
	"TDataSetManagerAliEn.h":       "dtpnode dataset add takes the files that a catalogue lists; drop the include",
	"TDrawInfo.h":                  "dtpnode draw draws as TTree::Draw does; drop the include",
	"TLockPath.h":                  "packages are locked while they are built, by dtpnode itself; drop the include",
	"TPackMgr.h":                   "dtpnode package keeps, lists and clears packages, dtpnode run --package enables them",
	"TPacketizer.h":                noPacketizers,
	"TPacketizer2.h":               noPacketizers,
	"TPacketizerAdaptive.h":        noPacketizers,
	"TPacketizerDev.h":             noPacketizers,
	"TPacketizerFile.h":            noPacketizers,
	"TPacketizerMulti.h":           noPacketizers,
	"TPacketizerProgressive.h":     noPacketizers,
	"TPacketizerUnit.h":            noPacketizers,
	"TProofBench.h":                noBench,
	"TProofBenchDataSet.h":         noBench,
	"TProofBenchRun.h":             noBench,
	"TProofBenchRunCPU.h":          noBench,
	"TProofBenchRunDataRead.h":     noBench,
	"TProofBenchTypes.h":           noBench,
	"TProofBenchMode.h":            noBench,
	"TSelEvent.h":                  noBench,
	"TSelEventGen.h":               noBench,
	"TSelHandleDataSet.h":          noBench,
	"TSelHist.h":                   noBench,
	"TProofCondor.h":               noCluster,
	"TProofLimitsFinder.h":         "limits of histograms are found when outputs are merged; drop the include",
	"TProofMonSender.h":            "dtpnode status --output json and the control socket tell what a monitor needs",
	"TProofMonSenderML.h":          "dtpnode status --output json and the control socket tell what a monitor needs",
	"TProofMonSenderSQL.h":         "dtpnode status --output json and the control socket tell what a monitor needs",
	"TProofPEAC.h":                 noCluster,
	"TProofPlayerLite.h":           "the player is dtpnode itself; use TProof.h",
	"TProofProgressDialog.h":       noWindows,
	"TProofProgressLog.h":          noWindows,
	"TProofProgressMemoryPlot.h":   noWindows,
	"TProofResources.h":            noCluster,
	"TProofResourcesStatic.h":      noCluster,
	"TProofServLite.h":             "each process is a generation of dtpnode's; use TProofServ.h",
	"TProofSuperMaster.h":          noCluster,
	"TProofMgrLite.h":              "there is one kind of session; use TProofMgr.h",
	"TQueryResultManager.h":        "dtpnode ps --all lists queries, get and logs show them; drop the include",
	"TSelVerifyDataSet.h":          "dtpnode dataset verify does it; drop the include",
	"TSessionDialogs.h":            noWindows,
	"TSessionLogView.h":            noWindows,
	"TSessionViewer.h":             noWindows,
	"TSlaveLite.h":                 "dtpnode members lists the nodes; use TProof.h",
	"TVirtualPacketizer.h":         noPacketizers,
	"TXProofMgr.h":                 "there is one kind of session; use TProofMgr.h",
	"TXProofServ.h":                "each process is a generation of dtpnode's; use TProofServ.h",
	"TXSlave.h":                    "dtpnode members lists the nodes; use TProof.h",
	"TXSocket.h":                   "nodes speak to each other by dtpnode itself; drop the include",
	"TXSocketHandler.h":            "nodes speak to each other by dtpnode itself; drop the include",
	"XrdProofConn.h":               "nodes speak to each other by dtpnode itself; drop the include",
	"TOutputListSelectorDataMap.h": "dtpnode binds members of the selector to the merged output itself; drop the include",
}
