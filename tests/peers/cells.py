"""Recurrent cells in torch, written from their equations, in the place of cells that have others."""

import numpy as np


def hidasi(params, squash=None):
    """Hidasi's GRU with our weights, called as `torch.nn.GRU` is: `[B L E] -> ([B L D], last state)`."""
    import torch

    kernel, bias, gates, candidate = (
        torch.tensor(np.asarray(x))
        for x in (params["input"]["kernel"], params["input"]["bias"], params["gates"], params["candidate"])
    )
    squash, width = squash or torch.sigmoid, candidate.shape[1]

    class Cell(torch.nn.Module):
        def forward(self, x):
            h, outputs = torch.zeros(x.shape[0], width), []
            for event in x.unbind(1):
                z_x, r_x, new_x = (event @ kernel + bias).split(width, 1)
                z_h, r_h = (h @ gates).split(width, 1)
                z, r = squash(z_x + z_h), squash(r_x + r_h)
                h = h + z * (torch.tanh(new_x + (r * h) @ candidate) - h)
                outputs.append(h)
            return torch.stack(outputs, 1), h[None]

    return Cell()
