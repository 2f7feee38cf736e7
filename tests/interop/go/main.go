// Reads a delivery a line, says of each whether the snippet takes it.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		headers := http.Header{}
		for index, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			headers.Set(name, fields[1+index])
		}
		if event, err := Verify(fields[0], headers, []byte(fields[4])); err == nil {
			fmt.Println("good", event.ID)
		} else {
			fmt.Println("refused", err)
		}
	}
}
