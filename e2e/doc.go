// Package e2e tests the real binary: daemons as processes of their own, joined by invitation, that run
// real selectors in a real ROOT. There is nothing here but tests.
//
//	main_test.go      builds the binary, finds a ROOT, owns what all tests share
//	cluster_test.go   daemons and commands
//	job_test.go       jobs, and ROOT's own TChain::Process beside them
//	data_test.go      the files that tests share
//	results_test.go   right results, bin by bin
//	badinput_test.go  wrong names, broken files, odd requests
//	badcode_test.go   selectors that do not compile, crash, hang, flood
//	disk_test.go      full disks
//	running_test.go   jobs under way, and the processes of daemons
//	resilience_test.go  killed, paused and returning daemons, zygotes, children
//	takeover_test.go  killed homes and clusters
//	replicas_test.go  who keeps a ledger
//	damage_test.go    damaged and full disks under ledgers and results
//	blobs_test.go     shared and damaged sources, damaged partials
//	blame_test.go     bad nodes
//	slow_test.go      what a very slow node costs
//	detach_test.go    closed laptops, results that outlive their holders
//	stealing_test.go  who works: seeds, slow, late and leaving nodes
//	membership_test.go  invitations, rights, strangers
//	namespaces_test.go  separate hosts
//	fake_test.go      daemons that sleep and count instead of running ROOT, built with the tag fakeexec
//	chaos_test.go     many daemons, killed and stopped at random
//	failpoints_test.go  a crash at each step of the protocol, in a binary with the tag failpoints
//	liars_test.go     members that lie, in a binary with the tag liars
//	faultnet_test.go  hosts on a network that delays, loses and cuts off (e2e/faultnet)
//	commands_test.go  every command, its JSON, exit status and Ctrl-C
//	settings_test.go  what runs take from the host's settings, and what is advised where no ROOT is found
package e2e
