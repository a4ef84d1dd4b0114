package control

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
	"github.com/dtpnode/dtpnode/wire"
)

// exchange is one connection over which items go to a job and the results of units come back (api.ExchangeProtocol).
type exchange struct {
	growth  Growth
	outputs Outputs
	job     string

	mu   sync.Mutex // of writing
	conn net.Conn
	out  *bufio.Writer

	kept   *uint64 // what is told at first of the calls that are kept; nil to tell nothing
	unkept bool    // calls were not kept, and whoever asks has not heard of it

	takes  sync.Once     // closes taking
	taking chan struct{} // closed when whoever asks can take descriptors
}

// lastWords is how long what was sent is read, at most, by somebody who has gone.
const lastWords = 10 * time.Second

// maxAppends is how many appends may wait while one is made. The frames behind them are read later.
const maxAppends = 8

// crowded is the pause before a descriptor is sent again, where the system has too many on their way: whoever is to
// read them is slow.
const crowded = 10 * time.Millisecond

// exchangeRoute serves exchanges.
func exchangeRoute(mux router, g Growth, o Outputs) {
	mux.HandleFunc("GET /v1/jobs/{id}/exchange", func(w http.ResponseWriter, r *http.Request) {
		ask, err := unitsAsked(r.URL.Query())
		ask.Follow, ask.Early = true, true
		if err == nil && !strings.EqualFold(r.Header.Get("Upgrade"), api.ExchangeProtocol) {
			err = &api.Error{
				Status:  http.StatusUpgradeRequired,
				Message: "an exchange is no plain request",
				Hint:    "ask with the headers Connection: Upgrade and Upgrade: " + api.ExchangeProtocol,
			}
		}
		if err != nil {
			writeError(w, err)
			return
		}
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			writeError(w, fmt.Errorf("could not begin an exchange: %w", err))
			return
		}
		_, local := conn.(*net.UnixConn)
		ask.Files = local && r.URL.Query().Get("held") != ""
		x := &exchange{growth: g, outputs: o, job: job(r), conn: conn, out: bufio.NewWriterSize(conn, 64<<10),
			taking: make(chan struct{})}
		if r.URL.Query().Get("appends") != "" {
			kept, leave := g.Attend(job(r), backlog.Peer(conn))
			defer leave()
			x.kept = &kept
		}
		x.run(r.Context(), both.Reader, ask)
	})
}

// run serves the exchange until its user closes the connection, or all is told.
func (x *exchange) run(ctx context.Context, in *bufio.Reader, ask api.UnitsRequest) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer x.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = x.conn.Close() }) // ends whoever reads or writes
	defer stop()
	_, err := fmt.Fprintf(x.conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		api.ExchangeProtocol)
	if err != nil {
		return
	}
	if x.kept != nil && x.send(&api.ExchangeAnswer{Kept: x.kept}) != nil {
		return
	}
	var reading sync.WaitGroup
	// An item that runs at once must not be told of before anybody listens: its value would come with its partial alone.
	ask.Listening = func() {
		reading.Go(func() {
			defer cancel()
			x.take(ctx, in)
		})
	}
	var untold error
	tell := func(ev api.UnitsEvent) error {
		err := x.tell(ctx, ev)
		untold = err
		return err
	}
	if err := x.outputs.Units(ctx, x.job, ask, tell); err != nil {
		_ = x.tell(ctx, api.UnitsEvent{Failed: api.AsError(err)})
	}
	if untold != nil && ctx.Err() == nil {
		// Whoever asks has ended, or gone. What it had sent before is still read: it may be calls that are to be kept.
		_ = x.conn.SetReadDeadline(time.Now().Add(lastWords))
		reading.Wait()
	}
	stop()
	_ = x.conn.Close()
	cancel()
	reading.Wait()
}

// take carries out appends, in order, until the connection ends or one is refused. What is to be kept does not wait for
// them: it is kept since they may take long.
func (x *exchange) take(ctx context.Context, in *bufio.Reader) {
	appends := make(chan api.ExchangeAppend, maxAppends)
	var appending sync.WaitGroup
	appending.Go(func() {
		for a := range appends {
			if x.append(ctx, a) != nil {
				_ = x.conn.Close() // none is made behind one that was refused
				break
			}
		}
		for range appends {
		}
	})
	defer appending.Wait()
	defer close(appends)
	for {
		b, err := wire.ReadFrame(in, api.MaxExchange)
		if err != nil {
			return
		}
		var a api.ExchangeAppend
		err = wire.Unmarshal(b, &a)
		switch {
		case err != nil:
			_ = x.refuse(0, err)
			return
		case a.Keep != nil:
			x.keep(a.Keep)
		case a.Seq == 0 && len(a.Data) == 0 && !a.Close:
			x.takes.Do(func() { close(x.taking) })
		default:
			appends <- a
		}
	}
}

// append makes one append, and tells what came of it. The error is that it was refused: that nobody hears the answer is
// none.
func (x *exchange) append(ctx context.Context, a api.ExchangeAppend) error {
	req := api.AppendRequest{
		Seq: a.Seq, Data: a.Data, Close: a.Close, Near: a.Near, Depends: a.Depends, Upto: a.Upto,
	}
	if _, err := x.growth.Append(ctx, x.job, req); err != nil {
		_ = x.refuse(a.Seq, err)
		return err
	}
	_ = x.send(&api.ExchangeAnswer{Seq: a.Seq})
	return nil
}

// refuse tells why an append was not made.
func (x *exchange) refuse(seq uint64, why error) error {
	e := api.AsError(why)
	said, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return x.send(&api.ExchangeAnswer{Seq: seq, Status: e.Status, Failed: said})
}

// keep has calls kept, and tells which are. When that has failed, others have no place behind them before whoever asks
// has heard of it. What has come from somebody who is gone is kept all the same.
func (x *exchange) keep(k *api.ExchangeKeep) {
	if x.unkept = x.unkept && !k.Again; x.unkept {
		return
	}
	after, err := x.growth.Keep(x.job, k)
	a := api.ExchangeAnswer{Kept: &after}
	if err != nil {
		x.unkept = true
		a.Unkept, _ = json.Marshal(api.AsError(err))
	}
	_ = x.send(&a)
}

// tell sends what is told of units.
func (x *exchange) tell(ctx context.Context, ev api.UnitsEvent) error {
	a := api.ExchangeAnswer{Early: api.RunsOf(ev.Early), Units: ev.Units, Values: api.RunsOf(ev.Values)}
	held := ev.Held
	ev.Early, ev.Units, ev.Values, ev.Held = nil, nil, nil, nil
	if ev.Failed != nil {
		a.Status = ev.Failed.Status
	}
	if len(ev.Lost) > 0 || ev.NoValues != "" || ev.Over != nil || ev.Failed != nil {
		rest, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		a.Rest = rest
	}
	if held != nil {
		select {
		case <-x.taking:
		case <-ctx.Done():
			return ctx.Err()
		}
		return x.sendHeld(&a, held)
	}
	return x.send(&a)
}

// sendHeld writes one frame with a descriptor beside it.
func (x *exchange) sendHeld(a *api.ExchangeAnswer, held *api.HeldValues) error {
	info, err := held.File.Stat()
	if err != nil {
		return err
	}
	a.Held = &api.HeldRun{First: held.First, At: held.At, Ends: held.Ends}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		a.Held.Inode = s.Ino
	}
	raw, err := held.File.SyscallConn()
	if err != nil {
		return err
	}
	b, err := wire.Marshal(a)
	if err != nil {
		return err
	}
	b = append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.out.Flush(); err != nil {
		return err
	}
	sent, failed := 0, errors.New("there is no such connection")
	err = raw.Control(func(fd uintptr) { // the file stays open meanwhile
		conn, ok := x.conn.(*net.UnixConn)
		for ok {
			sent, _, failed = conn.WriteMsgUnix(b, syscall.UnixRights(int(fd)), nil)
			if !errors.Is(failed, syscall.ETOOMANYREFS) {
				return
			}
			time.Sleep(crowded)
		}
	})
	if err = errors.Join(err, failed); err == nil && sent < len(b) {
		_, err = x.conn.Write(b[sent:])
	}
	return err
}

// send writes one frame. Its error is that the user has gone.
func (x *exchange) send(a *api.ExchangeAnswer) error {
	b, err := wire.Marshal(a)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := wire.WriteFrame(x.out, b); err != nil {
		return err
	}
	return x.out.Flush()
}
