"""Training and evaluating LFDN.

recipe       options of a run, presets, learning rate
train        the training loop; one step is `_Trainer.run_step`
losses       training losses
optim        Muon, an optimizer
degradation  synthetic rain or blur on the crops of a batch
validation   the score on the validation split
checkpoint   the files of a run folder
distributed  several processes under torchrun
evaluate     PSNR and SSIM on test sets
"""
