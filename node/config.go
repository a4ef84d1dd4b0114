// Package node is the daemon: it owns one peer of the protocol (package engine) in one event loop, carries the peer's
// effects out with the rooms below, and answers what other members and users ask by handing that on to them. It never
// decides who runs what, which the engine does; it leads no job and keeps no file itself, and it knows no runtime but
// by its contract (package exec).
//
// The rooms below are jobs (all that is done for jobs, and told of them), control (the control interface), members (the
// cluster), plan (what files hold), worker (generations), runtimes (what this host can run), store (what is on disk)
// and turns. None of them knows the daemon.
//
//	config.go       what a daemon is made of       daemon.go       open, leave, close
//	engineloop.go   the loop that owns the engine  loop.go         effects, and what the network tells
//	owners.go       requests of members, rights    books.go        what users ask, for package control
//	members.go      who is a member                revoked.go      who is none any more
//	nodestatus.go   this node, as users see it     planning.go     the cluster, for package plan
//	storing.go      which copies of ledgers stay   descriptors.go  how many files may be open
//	copies.go       which copies of a ledger count
//	recover.go      going on from one copy         recoveraside.go from one that was put aside
//	keys.go         signing, for the engine        facts.go        the network, for commands
//	failpoints.go   steps for crash tests          liars_on.go     a daemon that lies, for tests
package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
)

// Config is what a daemon is made of.
type Config struct {
	StateDir   string   // identity, membership, jobs and results; made if missing
	CacheDir   string   // ROOT, built children, compiled selectors; may be shared by a user's daemons
	ScratchDir string   // where a folder for partials of running jobs is made; default StateDir
	Listen     []string // host:port; default 127.0.0.1:0; host auto is the address that faces the other members
	Face       string   // what auto stands for at this start, if not that
	Name       string   // shown to others
	Slots      int      // children at once
	NoRuntime  string   // what the user can do if this host can run nothing
	// what the user can do if this host has a kind of runtimes, and not what a job needs of it, by the kinds
	OtherNeeds map[string]string
	Lacks      map[string]string // what the user can do if this host has other kinds of runtimes, but none of a kind
	Memory     int64             // bytes a child may use; 0: 80 % of the host's, shared by the slots
	Limits     exec.Limits       // of children, beside Memory; zero values take the defaults
	Version    string
	Logger     *slog.Logger
	Opened     func() // called by Run once the daemon listens; may be nil

	Runtimes []exec.Finder // the kinds of work that this node knows, the preferred first

	SignatureWait time.Duration // a member that leads a job has so long to tell who signed it; default 10 s
	LeaveWait     time.Duration // longest wait for work to be handed back; default 20 s
	KeepJobs      int           // of the finished jobs whose result is not kept so many are remembered; default 50
	KeepWhole     int           // so many whole results are kept that their users have; default 1000
	// a result that nobody fetches is kept for so long; default 14 days. One that was fetched: keepFetched
	KeepFor time.Duration
	// bound of partial results that are not committed, and of whole results that their users have; default a quarter of
	// the free disk
	KeepBytes       int64
	CommitEvery     time.Duration // what a child has done is handed in after so long; default 30 s
	Replicas        int           // of a job's ledger, where there are as many nodes; default 3
	ForgetAfter     time.Duration // a member that was not seen for so long is forgotten; default 8 weeks
	ForgetEphemeral time.Duration // and one that is ephemeral; default 5 min
	Election        time.Duration // a home that is silent for so long is replaced; default 2 s
}

func (c Config) withDefaults() (Config, error) {
	if c.StateDir == "" || c.CacheDir == "" {
		return c, errors.New("could not set up the daemon: no state or cache folder")
	}
	if c.Slots < 0 {
		return c, fmt.Errorf("could not set up the daemon with %d slots", c.Slots)
	}
	var err error
	for _, dir := range []*string{&c.StateDir, &c.CacheDir} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return c, fmt.Errorf("could not find folder %q: %w", *dir, err)
		}
	}
	if c.ScratchDir, err = scratchIn(c.ScratchDir, c.StateDir); err != nil {
		return c, err
	}
	if c.Memory == 0 {
		c.Memory = exec.HostMemory() * 8 / 10 / int64(max(c.Slots, 1))
	}
	if c.SignatureWait == 0 {
		c.SignatureWait = 10 * time.Second
	}
	if c.LeaveWait == 0 {
		c.LeaveWait = 20 * time.Second
	}
	if c.Replicas == 0 {
		c.Replicas = 3
	}
	if c.Election == 0 {
		c.Election = 2 * time.Second
	}
	if c.KeepFor == 0 {
		c.KeepFor = 14 * 24 * time.Hour
	}
	c.NoRuntime = cmp.Or(c.NoRuntime, "install what runs jobs, or name its folder, and start this daemon again")
	if c.KeepJobs == 0 {
		c.KeepJobs = 50
	}
	if c.KeepWhole == 0 {
		c.KeepWhole = 1000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// scratchIn is the daemon's own folder in the one that the user named: that one may be a mount point,
// hold other things, or serve other daemons, and the daemon empties its own at start and end.
func scratchIn(dir, state string) (string, error) {
	if dir == "" {
		return filepath.Join(state, "scratch"), nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("could not find folder %q: %w", dir, err)
	}
	sum := sha256.Sum256([]byte(state))
	return filepath.Join(abs, "dtpnode-"+hex.EncodeToString(sum[:6])), nil
}

func (c Config) retention() store.Retention {
	return store.Retention{KeepJobs: c.KeepJobs, KeepWhole: c.KeepWhole, KeepFor: c.KeepFor, KeepBytes: c.KeepBytes}
}

// workerLimits are what children may take of this host.
func (c Config) workerLimits() worker.Limits { return worker.Limits{Memory: c.Memory, Own: c.Limits} }

func (d *Daemon) cancelsDir() string { return filepath.Join(d.cfg.StateDir, "cancels") }
