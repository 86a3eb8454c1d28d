package remote

// SetCollected makes a sorter write a run after so many octets, until the function is called that it returns.
func SetCollected(octets int) (restore func()) {
	was := collected
	collected = octets
	return func() { collected = was }
}
