package store

import "github.com/google/uuid"

// requestQueue is requests that wait for the writer. Clients take turns, so that a client that
// publishes without pause delays others by one batch at most. The zero value is empty.
type requestQueue struct {
	clients map[uuid.UUID]*clientQueue
	ring    []*clientQueue // the clients with requests, in turn
	n       int
}

// clientQueue is the waiting requests of one client.
type clientQueue struct {
	client   uuid.UUID
	requests []*request
}

func (q *requestQueue) push(req *request) {
	if q.clients == nil {
		q.clients = make(map[uuid.UUID]*clientQueue)
	}
	client := q.clients[req.client]
	if client == nil {
		client = &clientQueue{client: req.client}
		q.clients[req.client] = client
		q.ring = append(q.ring, client)
	}
	client.requests = append(client.requests, req)
	q.n++
}

// pop takes the first request of the client whose turn it is. There must be one.
func (q *requestQueue) pop() *request {
	client := q.ring[0]
	req := client.requests[0]
	client.requests[0], q.ring[0] = nil, nil // the arrays must not keep what is written
	client.requests, q.ring = client.requests[1:], q.ring[1:]
	if len(client.requests) > 0 {
		q.ring = append(q.ring, client)
	} else {
		delete(q.clients, client.client)
	}
	q.n--
	return req
}
