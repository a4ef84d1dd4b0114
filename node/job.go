package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// Bounds of what is kept of a job's output.
const (
	maxLogBytes    = 256 << 10
	maxClientLines = 10_000
)

// job is a job that this daemon leads or takes part in. Users know it by its name, the hex of the
// description's nonce, which exists before the description does.
type job struct {
	name   string
	self   tasks.PeerID   // this node
	req    api.JobRequest // as far as it is known here
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}     // closed when final
	tell   func(text string) // who is told what is being done, beside those who ask; nil: nobody

	loading    sync.Mutex // held while program is prepared again
	delivering sync.Mutex // held while the output is written

	mu            sync.Mutex
	home          tasks.PeerID     // that leads it now, empty while none is known
	led           bool             // by this node, or it is final and told of here
	submittedHere bool             // in this life of the daemon
	concluding    bool             // its end is on the way to the ledger
	end           *engine.Finished // which is this one, if it is on the way from here
	early         string           // what its user is told if it is cancelled before it has begun, beside that it was
	outDone       bool             // the output is where its user wants it
	outTries      int              // how often writing it failed
	outNext       time.Time        // when it is tried again
	outWaived     bool             // it is not to be written any more
	id            tasks.JobID      // empty until the description is complete
	desc          *tasks.Job
	weight        int64        // of that, in memory, for a job that was submitted here
	program       exec.Program // nil until it is ready here
	work          tasks.Work   // what program is made from, of a job that is being prepared here to be submitted
	params        []tasks.Param
	items         int64        // over which the job runs if it has no files; likewise
	session       exec.Session // nil until Begin is run here
	codeKey       string
	status        api.JobStatus // state, phase, errors; the rest is filled in by statusOf
	complete      bool          // status is told as it is, and nothing is filled in
	ended         time.Time
	running       time.Time     // when the engine got it
	working       time.Duration // from then to the last commit
	merges        int64         // on the client side
	lost          []ledger.Lost
	view          engine.JobView // the last one seen
	stuck         sighting       // of the attempt after which it could not be finished
	apart         []string
	endedIn       *api.Elsewhere
	madeOf        string        // sumOfParts of what its result is made of, once that is known
	valued        bool          // that keeps values of single units
	skipped       exec.Finished // what its program left out, once it is merged
	lines         []string      // of Begin and Terminate
	log           []string      // of children here
	logBytes      int
	logLost       int
	ships         map[string]func() // by hash, what lets go of a blob that is here for the job
	freed         bool              // what it held here is released
	refused       map[string]refusal
}

// refusal is a file that had other entries here than were planned, as it was then.
type refusal struct {
	key    plan.FileKey
	reason string
}

// refuse notes that a file is not the one that was planned; it is tried again only when it has changed.
func (j *job) refuse(f *exec.Failure) {
	if f.Host != exec.CauseDiffers {
		return
	}
	key, _, _ := plan.KeyOf(f.File, "") // of a URL, or a file that has gone meanwhile, it is empty
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refused == nil {
		j.refused = map[string]refusal{}
	}
	j.refused[f.File] = refusal{key, f.Msg}
}

// refuses reports whether a file is as it was when it was refused, and why it was.
func (j *job) refuses(file string) (reason string, yes bool) {
	j.mu.Lock()
	r, known := j.refused[file]
	j.mu.Unlock()
	if !known {
		return "", false
	}
	now, _, _ := plan.KeyOf(file, "")
	return r.reason, now == r.key
}

// newJob is a job of which only the name is known.
func newJob(ctx context.Context, self tasks.PeerID, name string) *job {
	j := &job{name: name, self: self, done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(ctx)
	return j
}

// leads reports whether this node tells of the job: it is its home, or the job is final.
func (j *job) leads() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.led
}

// ledSince is when a job was submitted that this node tells of.
func (j *job) ledSince() (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status.Submitted, j.led
}

// homeNow is the node that leads the job, empty while none is known.
func (j *job) homeNow() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.home
}

// known is the job's id, empty until the description is complete.
func (j *job) known() tasks.JobID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.id
}

func (j *job) prepared() (exec.Program, *tasks.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.program, j.desc
}

// ownWork is the work of a job that is being prepared here to be submitted; none of any other.
func (j *job) ownWork() tasks.Work {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.work
}

// released reports whether what the job held here is released.
func (j *job) released() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.freed
}

// phase says what is being done just now.
func (j *job) phase(state api.JobState, text string) {
	if j.tell != nil {
		j.tell(text)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.status.State.Final() {
		j.status.State, j.status.Phase = state, text
	}
}

// lasting shows what a job that is being prepared waits for, and since when once that takes long, until done is called.
func (j *job) lasting(text string) (done func()) {
	j.phase(api.Preparing, text)
	began, stop, stopped := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				j.phase(api.Preparing, fmt.Sprintf("%s, for %v", text, time.Since(began).Round(time.Second)))
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// finalise ends a led job; the first call counts.
func (j *job) finalise(state api.JobState, message, hint string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status.State.Final() {
		return false
	}
	if j.ended.IsZero() {
		j.ended = time.Now()
	}
	j.status.State, j.status.Phase, j.status.Error, j.status.Hint = state, "", message, hint
	j.status.Stdout = strings.Join(j.lines, "\n")
	if state != api.Done && state != api.Partial {
		j.status.Output = "" // nothing was written there; an older file of that name may be
	}
	return true
}

// adopt makes a job final as its ledger says; the first call counts. Whether the output of a job of this node is
// written this node alone knows.
func (j *job) adopt(st api.JobStatus, own bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.status.State.Final() {
		return false
	}
	if st.OutputError = ""; own {
		st.Output, st.OutputError = "", j.status.OutputError
	}
	if j.outDone {
		st.Output = j.req.Output
	}
	j.status, j.complete, j.led, j.ended = st, true, true, time.Now()
	return true
}

func (j *job) final() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status.State.Final()
}

// clientLine takes a line that Begin or Terminate printed.
func (j *job) clientLine(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) < maxClientLines {
		j.lines = append(j.lines, line)
	}
}

// linesFrom returns the lines from the n-th on.
func (j *job) linesFrom(n int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines[min(n, len(j.lines)):]...)
}

// printed takes a line that a child printed here; the oldest give way.
func (j *job) printed(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.log = append(j.log, line)
	j.logBytes += len(line) + 1
	for j.logBytes > maxLogBytes && len(j.log) > 1 {
		j.logBytes -= len(j.log[0]) + 1
		j.log = j.log[1:]
		j.logLost++
	}
}

// crashed puts the failure of a child here among what the children printed, where its user looks for the reason: one
// that crashes may have printed nothing. What others can run is none.
func (j *job) crashed(node string, f *exec.Failure) {
	if f.Host != "" {
		return
	}
	for i, line := range strings.Split(strings.TrimSpace(f.Error()+"\n"+f.Stack), "\n") {
		if i == 0 {
			line = fmt.Sprintf("dtpnode: failed on %s: %s", node, line)
		} else {
			line = "    " + line
		}
		j.printed(line)
	}
}

// logFrom returns what children printed, from line n on, counted from the job's start, and the number
// of the next line.
func (j *job) logFrom(n int) (lines []string, next int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := min(max(n-j.logLost, 0), len(j.log))
	return append([]string(nil), j.log[from:]...), j.logLost + len(j.log)
}

func (j *job) addApart(names []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range names {
		known := false
		for _, o := range j.apart {
			known = known || o == n
		}
		if !known {
			j.apart = append(j.apart, n)
		}
	}
}

// note tells the job's user what he may not know, and should.
func (j *job) note(texts ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status.Notes = append(j.status.Notes, texts...)
}

// holds notes that a blob is here for the job until let is called, which happens once.
func (j *job) holds(hash string, let func()) {
	j.mu.Lock()
	needless := j.freed || j.ships[hash] != nil
	if !needless {
		if j.ships == nil {
			j.ships = map[string]func(){}
		}
		j.ships[hash] = let
	}
	j.mu.Unlock()
	if needless {
		let()
	}
}

// release frees what the job holds: of its runtime, and of what is shipped for it.
func (j *job) release() {
	j.cancel()
	j.mu.Lock()
	j.lighten()
	program, session, ships, again := j.program, j.session, j.ships, j.freed
	j.freed = true
	j.program, j.session, j.ships = nil, nil, nil
	j.mu.Unlock()
	if again {
		return
	}
	for _, let := range ships {
		let()
	}
	if session != nil {
		session.Close()
	}
	if program != nil {
		program.Release()
	}
}

// lighten lets go of the list of files of a job that is over, was not submitted here and is not told of by this node:
// what is still told of it needs none. The caller holds mu.
func (j *job) lighten() {
	const many = 256
	if j.desc == nil || j.led || j.submittedHere || len(j.lost)+len(j.view.Lost)+len(j.view.Failing) > 0 {
		return
	}
	none, err := tasks.NewDataset(nil)
	if err != nil {
		return
	}
	light := *j.desc
	light.Data, light.Input, light.Bad = *none, nil, slices.Clone(light.Bad[:min(len(light.Bad), many)])
	j.desc = &light
}

// own reports whether a job was submitted on this node; the caller holds mu.
func (j *job) own() bool {
	return j.submittedHere || (j.desc != nil && j.desc.Submitter == j.self)
}

// submitter is the member that the job belongs to, empty if that is not known.
func (j *job) submitter() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.submitterHeld()
}

// submitterHeld is submitter where the caller holds mu.
func (j *job) submitterHeld() tasks.PeerID {
	switch {
	case j.desc != nil && j.desc.Submitter != "":
		return j.desc.Submitter
	case j.submittedHere:
		return j.self
	}
	return j.status.Submitter
}
