"""The linear algebra by which `lfdn.cpu` and `lfdn.cuda` rearrange LFDN. Nothing is approximated.

fuse_first_convs   head and first strided convolution, as one
fold_identity      conv(x) + x, as one convolution
make_tridiagonal   ACFM's convolution across channels, as a matrix
BlockAlgebra       an FDNB after its 3x3 convolutions, as one matrix for each image
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.model import ACFM, FDNB, NORM_EPSILON


def fuse_first_convs(head: nn.Conv2d, reduce: nn.Conv2d, *, padding: int = 0) -> nn.Conv2d:
    """Fuse `head` and the strided `reduce` after it into one 5x5 convolution of stride 2.

    The result is wrong in the first row and column: there `reduce` pads the output of `head` with
    zeros, which differ from the output of `head` on a padded image.

    Args:
        head: A 3x3 convolution of stride 1 with a bias.
        reduce: The 3x3 convolution of stride 2 with a bias that follows it.
        padding: Padding of the fused convolution, in px.

    Returns:
        The fused convolution, in the weights' type. Its kernel is computed in float64.
    """
    first, second = head.weight.double(), reduce.weight.double()
    bias = second.sum(dim=(2, 3)) @ get_bias(head).double() + get_bias(reduce).double()
    fused = nn.Conv2d(
        head.in_channels,
        reduce.out_channels,
        5,
        stride=2,
        padding=padding,
        dtype=head.weight.dtype,
    )
    fill(fused, compose(second, first), bias)
    return fused


def compose(second: Tensor, first: Tensor) -> Tensor:
    """Compute the kernel `[O, I, h, w]` of `first` `[M, I, …]` and then `second` `[O, M, …]`."""
    # The composition of two correlations is the full convolution of their kernels.
    composed: Tensor = F.conv_transpose2d(second, first)
    return composed


def fold_identity(conv: nn.Conv2d) -> nn.Conv2d:
    """Build one convolution that computes conv(x) + x."""
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, dtype=conv.weight.dtype)
    identity = torch.zeros_like(conv.weight)
    identity[:, :, 1, 1] = torch.eye(conv.in_channels, dtype=conv.weight.dtype)
    fill(folded, conv.weight + identity, get_bias(conv))
    return folded


def make_tridiagonal(acfm: ACFM, channels: int) -> Tensor:
    """Build the matrix `[C, C]` of ACFM's convolution across channels, without its bias."""
    before, here, after = acfm.across.weight.detach().view(3)
    ones = torch.ones(channels, dtype=acfm.across.weight.dtype)
    matrix: Tensor = here * torch.diag(ones)
    matrix += before * torch.diag(ones[1:], -1)
    matrix += after * torch.diag(ones[1:], 1)
    return matrix


class BlockAlgebra(nn.Module):
    """What an FDNB does after its 3x3 convolutions, as one matrix for each image.

    Let u be the features of a position: the left half of the split, the three coarse features after
    their ReLU (the third one convolved once more), and a constant 1. `lfdn.model.FDNB` computes,
    position by position,

        d = D u + b_D               distil: D is block diagonal, with 1 for the last quarter
        n = s ⊙ (d - mean(d))       instance norm; s = 1 and no mean for the last quarter
        y = M n + b_M               merge
        x + g ⊙ y                   CCA: g depends on the mean and the deviation of y

    All of it is linear in u, thanks to its 1, with statistics that follow from G, the sum of u uᵀ
    over all N positions, without computing d, n or y: for any matrix A, the mean of A u is column 1
    of A G / N, and its mean square the diagonal of A G Aᵀ / N. Distil's bias cancels against its
    mean. So

        s = 1 / sqrt(var(D u) + ε)
        y = A u                     with A = M diag(s) (D - mean(D u) 1ᵀ), plus b_M in column 1
        x + g ⊙ y = x + diag(g) A u

    Two products over all positions are left: G, and the last line.

    Args:
        block: The block; its weights are copied.
        starts: Where in u each of the four quarters begins.
        one: Where in u the constant 1 is.
        size: The length of u. Places that are neither named nor in a quarter have no effect.
        outputs: Where in y each of the C channels is.
        output_size: The length of y. In other places it is zero.
    """

    def __init__(
        self,
        block: FDNB,
        *,
        starts: Sequence[int],
        one: int,
        size: int,
        outputs: Sequence[int],
        output_size: int,
    ) -> None:
        super().__init__()
        half = block.coarse_4.in_channels
        normalized = 3 * half
        like = block.merge.weight.detach()
        distil = like.new_zeros(4 * half + 1, size)
        convs = (block.distil_1, block.distil_2, block.distil_3)
        for index, (start, conv) in enumerate(zip(starts, convs, strict=False)):
            distil[index * half : (index + 1) * half, start : start + half] = get_matrix(conv)
        # The last quarter is neither distilled nor normalized; the last row is for merge's bias.
        distil[normalized:-1, starts[3] : starts[3] + half] = torch.eye(half, dtype=like.dtype)
        distil[-1, one] = 1
        merge = like.new_zeros(output_size, 4 * half + 1)
        merge[list(outputs), :-1] = get_matrix(block.merge)
        merge[list(outputs), -1] = get_bias(block.merge).detach()
        squeeze, excite = block.attention.squeeze, block.attention.excite
        squeezed = like.new_zeros(squeeze.out_channels, output_size)
        squeezed[:, list(outputs)] = get_matrix(squeeze)
        excited = like.new_zeros(output_size, squeeze.out_channels)
        excited[list(outputs)] = get_matrix(excite)
        excite_bias = like.new_zeros(output_size)
        excite_bias[list(outputs)] = get_bias(excite).detach()
        floor = like.new_ones(4 * half + 1)
        floor[:normalized] = NORM_EPSILON
        is_one = like.new_zeros(size)
        is_one[one] = 1
        self._one = one
        buffers = {
            "distil": distil,
            "normalized": distil * (torch.arange(len(distil)) < normalized)[:, None],
            "merge": merge,
            "floor": floor,
            "is_one": is_one,
            "epsilon": like.new_full((output_size,), NORM_EPSILON),
            "squeeze": squeezed,
            "squeeze_bias": get_bias(squeeze).detach().clone(),
            "excite": excited,
            "excite_bias": excite_bias,
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Compute A and g of each image.

        Args:
            gram: G, `[B, size, size]`, in the type of the weights.
            count: N, the number of positions it was summed over.

        Returns:
            A `[B, output_size, size]` and g `[B, output_size, 1]`.
        """
        normalized, one, size = self.get_buffer("normalized"), self._one, gram.shape[2]
        products = multiply(normalized, gram)
        means = products[:, :, one : one + 1]  # N times mean(D u), here and below
        # In place of `(products * normalized).sum(2)`, and so on: few kernels, as each takes longer
        # to start than to run on a GPU.
        variance = torch.addcmul(
            self.get_buffer("floor")[:, None], means, means, value=-1 / count**2
        )
        variance.transpose(0, 1).baddbmm_(
            products.transpose(0, 1), normalized[:, :, None], alpha=1 / count
        )
        # Rounding may leave a variance of nearly zero just below it.
        scale = variance.clamp_min_(NORM_EPSILON).rsqrt_()
        centred = torch.addcmul(
            self.get_buffer("distil"), means, self.get_buffer("is_one"), value=-1 / count
        )
        matrix = multiply(self.get_buffer("merge"), centred.mul_(scale))
        products = torch.bmm(matrix, gram)
        means = products[:, :, one]
        variance = torch.addcmul(self.get_buffer("epsilon"), means, means, value=-1 / count**2)
        variance.view(-1, 1, 1).baddbmm_(
            products.view(-1, 1, size), matrix.view(-1, size, 1), alpha=1 / count
        )
        contrast = variance.clamp_min_(NORM_EPSILON).sqrt_().add_(means, alpha=1 / count)
        squeezed = F.relu(
            F.linear(contrast, self.get_buffer("squeeze"), self.get_buffer("squeeze_bias"))
        )
        gain = F.linear(squeezed, self.get_buffer("excite"), self.get_buffer("excite_bias"))
        return matrix, gain.sigmoid_()[:, :, None]


def multiply(matrix: Tensor, others: Tensor) -> Tensor:
    """Multiply a matrix `[O, I]` with others `[B, I, C]`, without copies of them."""
    return torch.bmm(matrix.expand(len(others), -1, -1), others)


def fill(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    """Give a convolution these weights, copied and converted."""
    with torch.no_grad():
        conv.weight.copy_(weight)
        get_bias(conv).copy_(bias)


def get_matrix(conv: nn.Conv2d) -> Tensor:
    """Copy the kernel of a 1x1 convolution, as `[O, I]`."""
    return conv.weight.detach().flatten(1).clone()


def get_bias(conv: nn.Conv2d | nn.Conv1d) -> Tensor:
    """Return the bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.bias
