// Program comes to every crash point three times, each time saying so.
package main

import (
	"fmt"

	"github.com/tenantry/tenantry/internal/crashpoint"
)

func main() {
	for range 3 {
		for _, p := range crashpoint.All() {
			fmt.Println(p)
			crashpoint.Hit(p)
		}
	}
}
