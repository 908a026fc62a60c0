"""The spatiotemporal module (KFFocus): tubes attend to each other in time, cells learn their row and column."""
