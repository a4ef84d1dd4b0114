package tasks

// Canary is the checksum of one packet of units. It is summed (mod 2^64) over the packets of a partial,
// in the child inside an output object that ROOT merges like the user's own, and beside it in the
// scheduler. The mixing function is splitmix64's finaliser (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014).
func Canary(job uint64, r Range) uint64 {
	return mix(mix(mix(job)^uint64(r.First)) ^ uint64(r.Last))
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
