package node

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// signedName is the name of the jobs that signedJob makes.
func signedName(d *Daemon) string {
	return hex.EncodeToString(tasks.NonceOf(d.net.ID(), tasks.NonceSalt{'n'}))
}

// signedJob is a description by a member, or by nobody, and its signature.
func signedJob(t *testing.T, d *Daemon, output string) (id tasks.JobID, body []byte, b store.Signature) {
	t.Helper()
	data, err := tasks.NewDataset([]tasks.File{{URL: "f", Part: "T", Entries: 100, Clusters: []int64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: d.net.ID(),
		Nonce:     tasks.NonceOf(d.net.ID(), tasks.NonceSalt{'n'}),
		Work:      tasks.Work{Kind: "ROOT"},
		Data:      *data,
		Want:      tasks.R(0, 100),
		Ask:       tasks.Ask{Output: output},
	}
	if body, err = wire.Marshal(desc); err != nil {
		t.Fatal(err)
	}
	id = tasks.NameOf(body)
	size := int64(len(body))
	return id, body, store.Signature{Signer: d.net.ID(), Size: size, Sig: d.net.Sign(store.SignedText(id, size))}
}

// What is not signed by a member that may submit, in its own name and whole, is no job.
func TestAJobIsItsSignersAndItsSignerMaySubmit(t *testing.T) {
	d, other := openWithout(t, "node"), openWithout(t, "stranger")
	defer d.Close()
	defer other.Close()
	id, body, good := signedJob(t, d, "")
	if desc, err := d.jobs.CheckJob(id, body, good); err != nil || desc.Submitter != d.net.ID() {
		t.Fatalf("refused: %v", err)
	}
	if err := d.jobs.MaySubmit(id, good); err != nil {
		t.Fatalf("refused: %v", err)
	}
	strangerID, strangerBody, strangers := signedJob(t, other, "")
	inMyName := good
	inMyName.Signer, inMyName.Sig = other.net.ID(), other.net.Sign(store.SignedText(id, good.Size))
	larger := good
	larger.Size++
	huge := good
	huge.Size = store.MaxDescription + 1
	huge.Sig = d.net.Sign(store.SignedText(id, huge.Size))
	for name, c := range map[string]struct {
		id   tasks.JobID
		body []byte
		b    store.Signature
		in   string
		head bool // seen before the description is fetched
	}{
		"by nobody": {id, body, store.Signature{
			Signer: d.net.ID(),
			Size:   good.Size,
		}, p2p.ErrBadSignature.Error(), true},
		"of another job":         {strangerID, strangerBody, good, p2p.ErrBadSignature.Error(), true},
		"by a stranger":          {strangerID, strangerBody, strangers, "no right to submit", true},
		"in another's name":      {id, body, inMyName, "no right to submit", true},
		"larger than was signed": {id, body, larger, p2p.ErrBadSignature.Error(), true},
		"too large":              {id, body, huge, "the limit is", true},
		"another description":    {id, strangerBody, good, "another hash", false},
	} {
		if _, err := d.jobs.CheckJob(c.id, c.body, c.b); err == nil || !strings.Contains(err.Error(), c.in) {
			t.Errorf("%s: got %v, want %q", name, err, c.in)
		}
		if err := d.jobs.MaySubmit(c.id, c.b); (err != nil) != c.head {
			t.Errorf("%s: before the description is fetched %v", name, err)
		}
	}
	// The right aside, what is signed in another's name is still none of its jobs.
	if _, err := inMyName.OpenJob(id, body); err == nil || !strings.Contains(err.Error(), "in the name of") {
		t.Errorf("signed by one in the name of another: %v", err)
	}
}

// A home of another's making, or a replica's disk, says where the output goes, and that it is there: no file of the
// submitter's node comes of it but the one that it signed.
func TestAForgedBriefDecidesNothing(t *testing.T) {
	for name, signed := range map[string]bool{"wanted nowhere": false, "wanted elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			d := openWithout(t, "submitter")
			dir := t.TempDir()
			good, evil := "", filepath.Join(dir, "evil")
			if signed {
				good = filepath.Join(dir, "good")
			}
			id, body, b := signedJob(t, d, good)
			c := &store.Copy{Dir: d.ledgers.FolderOf(id)}
			forged := struct {
				Signer  string `msgpack:"s"`
				Size    int64  `msgpack:"z"`
				Sig     []byte `msgpack:"g"`
				Request []byte `msgpack:"r"`
			}{b.Signer, b.Size, b.Sig, []byte(`{"selector":"/x/A.C","output":"` + evil + `"}`)}
			head, err := wire.Marshal(&forged)
			if err != nil {
				t.Fatal(err)
			}
			self := quorum.NewVoter(d.net.ID(), 1)
			if err := durable.Write(c.BodyPath(), body); err != nil {
				t.Fatal(err)
			}
			log, err := journal.Create(filepath.Join(c.Dir, "journal"), journal.Head{
				Job:    head,
				Self:   self,
				Voters: []quorum.Voter{self},
			})
			if err == nil {
				err = log.Close()
			}
			cfg := d.cfg
			if err == nil {
				err = d.Close()
			}
			if err == nil {
				d, err = Open(t.Context(), cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			c = d.ledgers.Of(id)
			if c == nil {
				t.Fatal("the ledger is not back")
			}
			j := d.jobs.Book().OfCopy(c)
			result := []byte("result")
			if err := durable.Write(d.results.Path(j.Name), result); err != nil {
				t.Fatal(err)
			}
			status := `{"id":"x","state":"done","output":"` + evil + `","sha256":"` + store.HashOf([]byte("other")) + `"}`
			d.loop.Ask(func(*engine.Peer) {
				d.jobs.JobEnded(d.loop.peer, engine.JobEnded{
					ID:     id,
					Result: ledger.Result{SHA256: store.HashOf(result), Status: []byte(status)},
				})
			})
			<-j.Done
			until(t, "the output is settled", func() bool { return d.jobs.Settled(j) })
			st := d.jobs.StatusOf(j)
			if st.Output != good || st.ID != j.Name || st.SHA256 != store.HashOf(result) {
				t.Errorf("status %+v", st)
			}
			if _, err := os.Stat(evil); err == nil {
				t.Error("a file that nobody signed was written")
			}
			if signed && !holds(good, "result") {
				t.Error("the output is not where it was wanted")
			}
		})
	}
}
