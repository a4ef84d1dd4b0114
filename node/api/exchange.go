package api

// ExchangeProtocol is what an exchange speaks: one connection over which a program appends items to an open job of its
// user and is told the results of units, without a request for each. An exchange begins as the HTTP request
//
//	GET /v1/jobs/{id}/exchange?first=N
//	Connection: Upgrade
//	Upgrade: dtpnode-exchange
//
// with the parameters of UnitsRequest, of which follow and early are implied, and with appends=1 if whoever asks is the
// program that appends to the job, for JobRequest.Abandon. With held=1 values that lie in a file of
// this host are told as a descriptor of that, which comes as SCM_RIGHTS beside the first byte of its frame
// (ExchangeAnswer.Held): they are not copied through the connection, nor ever in the daemon's memory. None comes before
// whoever asks has sent an ExchangeAppend of which all is zero, when it can take them: what reads the headers of an
// answer takes what follows them, too, and loses descriptors. After the answer 101 both sides send
// frames: four bytes with the length, big-endian, then that many bytes of msgpack, an ExchangeAppend or an
// ExchangeAnswer. Whoever asks may send appends before earlier ones are answered; they are made in order. The daemon
// closes the connection after the last answer, whose Rest has UnitsEvent.Over or Failed. A connection that breaks off
// loses nothing: appends that were not answered are sent again with their numbers over another one, which begins with
// the first unit that was not told.
//
// Whoever appends may hand over calls that it will append later (ExchangeAppend.Keep), so that they are appended when
// it has ended without closing the job. For that it numbers its calls from 0, in the order in which they come into the
// session, which may be of several jobs, and says with each append how far it has come (ExchangeAppend.Upto). The first
// answer over a connection, to whoever appends, says which calls are kept from before (ExchangeAnswer.Kept); what was
// handed over and is not among them is to be handed over again. POST /v1/jobs/{id}/backlog/cancel has calls never run
// (CancelKept), POST /v1/jobs/{id}/backlog/move has them kept for the job id from then on (MoveKept), and GET
// /v1/jobs/{id}/backlog tells how many there are (KeptCalls).
const ExchangeProtocol = "dtpnode-exchange"

// MaxExchange bounds a frame with an append, in bytes.
const MaxExchange = 256 << 20

// ExchangeAppend is an append to the job, as AppendRequest.
type ExchangeAppend struct {
	Seq   uint64   `msgpack:"seq"`   // not 0
	Data  [][]byte `msgpack:"data"`  // items
	Close bool     `msgpack:"close"` // nothing is appended after this
	// Near says which nodes are faster with some of the items.
	Near    []NearItems `msgpack:"near,omitempty"`
	Depends bool        `msgpack:"depends,omitempty"` // as in AppendRequest
	// Upto is the number behind the last call that is in this append or an earlier one, as far as calls have numbers.
	// Those with lower numbers that are in none were cancelled.
	Upto uint64 `msgpack:"upto,omitempty"`
	// Keep hands calls over. Seq is 0 then, and nothing is appended.
	Keep *ExchangeKeep `msgpack:"keep,omitempty"`
}

// ExchangeKeep is calls with consecutive numbers that the daemon keeps until an append says that it comes behind them,
// or whoever is connected has ended. Calls are a head, which many may share, and a tail. In an append, a call is the
// item
//
//	0  four bytes with the length of the head, little-endian, the head, then the tail
//	1  four bytes: how many items before this one, of the same append, has the same head; then the tail
//
// Where calls cannot be kept the answer says why (ExchangeAnswer.Unkept), and none of those that follow is kept before
// a frame with Again comes.
type ExchangeKeep struct {
	First uint64     `msgpack:"first"` // number of the first call
	Heads [][]byte   `msgpack:"heads"`
	Runs  [][2]int64 `msgpack:"runs"` // how many calls, and the index of the head that they have, in order
	Ends  []byte     `msgpack:"ends"` // where each tail ends in Tails, four bytes each, little-endian
	Tails []byte     `msgpack:"tails"`
	// Most is how many calls are to be on their way at a time; 0 for any number.
	Most  int64 `msgpack:"most,omitempty"`
	Again bool  `msgpack:"again,omitempty"` // whoever asks has heard what was not kept
}

// KeptCalls is how many calls of a job are kept that are not in it yet.
type KeptCalls struct {
	Waiting int64 `json:"waiting"`
	// After is the number behind the last call that is kept, or 0.
	After uint64 `json:"after"`
}

// CancelKept has calls never run, as half-open ranges of their numbers. Those that are in the job do.
type CancelKept struct {
	Calls [][2]uint64 `json:"calls"`
}

// MoveKept has calls that are kept for the job From kept for another one. No append to From may be unanswered.
type MoveKept struct {
	From string `json:"from"`
}

// ExchangeAnswer tells of an append, or of units.
type ExchangeAnswer struct {
	// Seq is that of an append which is in the job's ledger, durably or, where Failed is not empty, which was refused for
	// the reason there, in JSON (Error): then nothing that follows it was appended.
	Seq    uint64 `msgpack:"seq,omitempty"`
	Failed []byte `msgpack:"failed,omitempty"`

	Early  []ValueRun `msgpack:"early,omitempty"`  // as UnitsEvent.Early
	Held   *HeldRun   `msgpack:"held,omitempty"`   // as UnitsEvent.Held
	Units  [][2]int64 `msgpack:"units,omitempty"`  // as UnitsEvent.Units
	Values []ValueRun `msgpack:"values,omitempty"` // as UnitsEvent.Values
	// Status is that of HTTP which goes with Failed, or with UnitsEvent.Failed: from 500 on, and with 404, another attempt
	// over another connection may go well.
	Status int `msgpack:"status,omitempty"`
	// Kept is the number behind the last call that is kept; it is told at first, and for each frame with calls to be kept.
	Kept *uint64 `msgpack:"kept,omitempty"`
	// Unkept is why calls are not kept that were handed over, in JSON (Error).
	Unkept []byte `msgpack:"unkept,omitempty"`
	// Rest is a UnitsEvent in JSON with all that it has beside these.
	Rest []byte `msgpack:"rest,omitempty"`
}

// ValueRun is the values of consecutive units.
type ValueRun struct {
	First  int64    `msgpack:"first"`
	Values [][]byte `msgpack:"values"`
}

// HeldRun is the values of consecutive units in a file, of which a descriptor comes with the frame.
type HeldRun struct {
	First int64    `msgpack:"first"`
	At    int64    `msgpack:"at"`   // where its value begins in the file
	Ends  []uint64 `msgpack:"ends"` // where each value ends, counted from At
	// Inode is that of the file. A descriptor of another one is not to be taken for it: those that come while nobody
	// takes any are lost.
	Inode uint64 `msgpack:"inode"`
}

// RunsOf puts values in their order into runs.
func RunsOf(values []UnitValue) (runs []ValueRun) {
	for _, v := range values {
		if n := len(runs); n > 0 && runs[n-1].First+int64(len(runs[n-1].Values)) == v.Unit {
			runs[n-1].Values = append(runs[n-1].Values, v.Value)
			continue
		}
		runs = append(runs, ValueRun{First: v.Unit, Values: [][]byte{v.Value}})
	}
	return runs
}
