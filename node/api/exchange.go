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
const ExchangeProtocol = "dtpnode-exchange"

// MaxExchange bounds a frame with an append, in bytes.
const MaxExchange = 256 << 20

// ExchangeAppend is an append to the job, as AppendRequest.
type ExchangeAppend struct {
	Seq   uint64   `msgpack:"seq"`   // not 0
	Data  [][]byte `msgpack:"data"`  // items
	Close bool     `msgpack:"close"` // nothing is appended after this
	// Near says which nodes are faster with some of the items.
	Near []NearItems `msgpack:"near,omitempty"`
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
