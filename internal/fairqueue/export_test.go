package fairqueue

// MaxIdle is maxIdle, for tests of the bound.
const MaxIdle = maxIdle

// Clients returns how many clients the window knows.
func (w *Window[T]) Clients() int { return len(w.clients) }
