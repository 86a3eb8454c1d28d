package adminapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
)

// refuseForeign refuses what a browser sends for a page of another site: whoever runs this API on
// their own machine would else lend it to every page they look at. Other clients than browsers
// are let through.
func refuseForeign(next echo.HandlerFunc) echo.HandlerFunc {
	origins := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := origins.Check(c.Request()); err != nil {
			return kindForeign.problem("a browser says that it is a page of another site that asks: use the API from its own /docs, or from a program")
		}
		return next(c)
	}
}

// refuseNames refuses requests to other names than this machine's own, where the API is served on
// loopback. A page can have the name of its own site lead to 127.0.0.1 (DNS rebinding), and is of the
// same origin as this API for its browser then. Programs may read under any name.
func refuseNames(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if (!reads || fromBrowser(r.Header)) && !loopback(r.Host) {
			return kindForeign.problem("the API is served on loopback, and the request was sent to %.100q: send it to localhost or 127.0.0.1, or have the proxy in front name that in Host", r.Host)
		}
		return next(c)
	}
}

// fromBrowser tells whether a page may have sent this. For a page of the same origin, over HTTP, a
// browser may say no more of itself than its name.
func fromBrowser(h http.Header) bool {
	return h.Get("Origin") != "" || h.Get("Sec-Fetch-Site") != "" || h.Get("Referer") != "" ||
		strings.HasPrefix(h.Get("User-Agent"), "Mozilla/")
}

// loopback tells whether a Host names this machine and no other, whatever DNS says.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && ip.Unmap().IsLoopback()
}
